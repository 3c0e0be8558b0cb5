package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// Digest returns a SHA-256, in hexadecimal, over what the configuration says: the
// names and contents of all files, those that file() reads too (Load has
// evaluated everything, so they are known), and the values
// of all variables. A secret counts by its reference. The value of a sensitive
// variable does not count: whoever sees the digest could guess it.
func (c *Config) Digest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := sha256.New()
	item := func(kind, name string, content []byte) {
		fmt.Fprintf(h, "%s %q %d\n", kind, name, len(content))
		h.Write(content)
		io.WriteString(h, "\n")
	}
	for _, label := range sortedSet(c.sources) {
		item("file", label, c.parsed[label].Bytes)
	}
	for _, label := range names(c.texts) {
		item("text", label, []byte(c.texts[label]))
	}
	for _, name := range names(c.root.module.variables) {
		if c.root.module.variables[name].sensitive {
			item("sensitive", name, nil)
			continue
		}
		item("variable", name, []byte(canonical(c.given[name])))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// canonical writes a value as a text that is equal for equal values only.
func canonical(v cty.Value) string {
	v, _ = v.UnmarkDeep()
	switch t := v.Type(); {
	case !v.IsKnown():
		return "unknown"
	case v.IsNull():
		return "null"
	case t == cty.String:
		return strconv.Quote(v.AsString())
	case t == cty.Number:
		return v.AsBigFloat().Text('g', -1)
	case t == cty.Bool:
		return strconv.FormatBool(v.True())
	case t.Equals(providers.SecretType):
		secret, _ := providers.SecretFrom(v)
		return secret.String()
	case t.IsCapsuleType():
		if s, ok := systemOf(v); ok {
			return s.address
		}
		return t.FriendlyName()
	case t.IsObjectType() || t.IsMapType():
		return collectionText(v, "{", "}", true)
	}
	return collectionText(v, "[", "]", false)
}

func collectionText(v cty.Value, open, end string, keys bool) string {
	var parts []string
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		text := canonical(element)
		if keys {
			text = canonical(key) + ":" + text
		}
		parts = append(parts, text)
	}
	return open + strings.Join(parts, ",") + end
}
