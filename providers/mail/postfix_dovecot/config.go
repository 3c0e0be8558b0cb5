package postfix_dovecot

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers/remote"
)

// object reads a value whose attributes may be null.
type object struct{ cty.Value }

func (o object) get(name string) cty.Value {
	if o.Value == cty.NilVal || o.IsNull() || !o.Type().HasAttribute(name) {
		return cty.NullVal(cty.DynamicPseudoType)
	}
	return o.GetAttr(name)
}

func (o object) object(name string) object { return object{o.get(name)} }

func (o object) text(name string) string {
	if v := o.get(name); !v.IsNull() {
		return v.AsString()
	}
	return ""
}

func (o object) number(name string) int {
	v := o.get(name)
	if v.IsNull() {
		return 0
	}
	n, _ := v.AsBigFloat().Int64()
	return int(n)
}

// parseJump reads user@host:port, of which only the host must be there.
func parseJump(text string) (remote.Config, error) {
	c := remote.Config{Address: text}
	if user, rest, found := strings.Cut(text, "@"); found {
		c.User, c.Address = user, rest
	}
	if host, port, err := net.SplitHostPort(c.Address); err == nil {
		if c.Port, err = strconv.Atoi(port); err != nil {
			return c, fmt.Errorf("%q is not a port", port)
		}
		c.Address = host
	}
	return c, nil
}
