package postfix_dovecot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// rsync carries files. The servers need no way to each other: a port on the
// source's loopback leads through here to an rsync daemon that lives for one
// connection on the peer's standard input and output, and asks for a secret of
// this pass. box is "" where messages are carried otherwise.
func (p *pass) rsync(ctx context.Context, box string, items []string) (mail.Pass, error) {
	tunnel, err := p.from.runner.Forward(ctx, func(conn net.Conn) {
		stream, err := p.to.runner.Stream(ctx, p.to.storeCommand("receive a store", nil, "serve", p.id, p.target.home))
		if err != nil {
			conn.Close()
			return
		}
		// rsync on both sides reports what breaks a connection.
		_ = remote.Bridge(conn, stream)
	})
	if err != nil {
		return mail.Pass{}, err
	}
	defer tunnel.Close()
	args := append([]string{"send", strconv.Itoa(tunnel.Port()), p.there, p.identity, p.source.home, box}, items...)
	said, err := p.from.store(ctx, "send a store", []byte(p.secret), args...)
	if err != nil {
		return mail.Pass{}, err
	}
	return parsePass(said)
}

func parsePass(text string) (mail.Pass, error) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return mail.Pass{}, fmt.Errorf("copying: unexpected answer %q", text)
	}
	var p mail.Pass
	var errs [3]error
	p.Messages, errs[0] = strconv.ParseInt(f[0], 10, 64)
	p.Bytes, errs[1] = strconv.ParseInt(f[1], 10, 64)
	p.Changed, errs[2] = strconv.ParseInt(f[2], 10, 64)
	return p, errors.Join(errs[:]...)
}
