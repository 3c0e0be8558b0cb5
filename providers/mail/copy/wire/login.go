package wire

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
)

// A Mechanism is how one logs in.
type Mechanism int

const (
	// Password is by whatever the server offers for a password: AUTHENTICATE PLAIN, else
	// the command LOGIN, else AUTHENTICATE LOGIN.
	Password Mechanism = iota
	// XOAuth2 is by an access token, as Gmail and Microsoft 365 have it.
	XOAuth2
	// OAuthBearer is by an access token (RFC 7628).
	OAuthBearer
	// External is by what is outside of IMAP, as a client certificate (RFC 4422 appendix A).
	External
	// None is for a server that takes us for logged in from the beginning (PREAUTH), as
	// Dovecot's imap process does.
	None
)

// String returns the mechanism's name as errors have it.
func (m Mechanism) String() string {
	return [...]string{"password", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "PREAUTH"}[m]
}

// A Login says who logs in, and by what.
type Login struct {
	Mechanism Mechanism
	// User is whose mail it is.
	User string
	// Master is who logs in for User, if not the user; Secret is then the master's.
	Master string
	// Separator has User and Master be told to the server as one name, user*master with
	// "*". Without, they are told by SASL PLAIN: Master logs in to act as User (RFC 4616).
	Separator string
	// Secret returns the password or the access token; External and None have none. It is
	// asked once for each Dial, before the connection is opened.
	Secret func(ctx context.Context) ([]byte, error)
}

// who is the login as errors have it.
func (l Login) who() string {
	switch {
	case l.Master != "" && l.Separator != "":
		return l.User + l.Separator + l.Master
	case l.Master != "":
		return l.Master + " for " + l.User
	case l.User == "":
		return "nobody by name"
	}
	return l.User
}

// identities returns who logs in, and as whom if that is not the same.
func (l Login) identities() (authentication, authorization string) {
	switch {
	case l.Master == "":
		return l.User, ""
	case l.Separator != "":
		return l.User + l.Separator + l.Master, ""
	}
	return l.Master, l.User
}

// login makes us somebody to the server, and learns what it offers to them.
func (c *Conn) login(l Login, secret string, preauth bool) error {
	if preauth || l.Mechanism == None {
		return c.preauth(l, preauth)
	}
	if strings.ContainsRune(l.User+l.Master+secret, 0) {
		return &LoginError{Server: c.server, Mechanism: l.Mechanism.String(), User: l.who(), Said: "a NUL byte is in the name or the secret"}
	}
	cmd, mechanism, err := c.present(l, secret)
	if err != nil {
		return err
	}
	if cmd.answer.kind != "OK" {
		return c.loginRefusal(cmd, mechanism, l)
	}
	// RFC 9051 section 6.2.3: what is offered changes with the login.
	return c.learnCaps(cmd.answer, cmd.data)
}

func (c *Conn) preauth(l Login, preauth bool) error {
	switch {
	case preauth && l.Mechanism == None:
		return nil
	case preauth:
		return &LoginError{Server: c.server, Mechanism: l.Mechanism.String(), User: l.who(), next: "Give this connection the mechanism for servers that log in by themselves, if that is what is meant.",
			Said: "the server takes us for logged in already (PREAUTH), and does not say as whom"}
	}
	return &LoginError{Server: c.server, Mechanism: l.Mechanism.String(), User: l.who(), next: "Give a user and a password, or reach the server's imap process itself.",
		Said: "the server wants a login and there is none to give"}
}

func (l Login) secret(ctx context.Context) (string, error) {
	switch {
	case l.Mechanism == None || l.Mechanism == External:
		return "", nil
	case l.Secret == nil:
		return "", errors.New("none is given")
	}
	secret, err := l.Secret(ctx)
	return string(secret), err
}

// present logs in by the mechanism that l and the server agree on, and returns the
// answered command.
func (c *Conn) present(l Login, secret string) (*command, string, error) {
	authentication, authorization := l.identities()
	switch l.Mechanism {
	case XOAuth2:
		return c.authenticate(&bearer{name: "XOAUTH2", initial: "user=" + l.User + "\x01auth=Bearer " + secret + "\x01\x01"}, l)
	case OAuthBearer:
		_, initial, err := sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: l.User, Token: secret}).Start()
		if err != nil {
			return nil, "", err
		}
		return c.authenticate(&bearer{name: "OAUTHBEARER", initial: string(initial), farewell: "\x01"}, l)
	case External:
		return c.authenticate(sasl.NewExternalClient(l.User), l)
	}
	switch {
	case c.caps.Has(imap.AuthCap(sasl.Plain)):
		return c.authenticate(sasl.NewPlainClient(authorization, authentication, secret), l)
	case authorization != "":
		return nil, "", c.unoffered(l, sasl.Plain, "Set the master user's separator, if the server knows the form user*master.")
	case !c.caps.Has(imap.CapLoginDisabled):
		cmd, err := c.commandLogin(authentication, secret)
		return cmd, "LOGIN", err
	case c.caps.Has(imap.AuthCap(sasl.Login)):
		return c.authenticate(sasl.NewLoginClient(authentication, secret), l)
	}
	return nil, "", c.unoffered(l, "a password", "Use TLS: most servers take passwords under it only. A server that takes none at all needs an access token (XOAUTH2).")
}

// unoffered says that the server has no way to log in as l wants to.
func (c *Conn) unoffered(l Login, mechanism, next string) error {
	offered := "none"
	if names := c.caps.AuthMechanisms(); len(names) > 0 {
		offered = strings.Join(slices.Sorted(slices.Values(names)), ", ")
	}
	return &LoginError{Server: c.server, Mechanism: mechanism, User: l.who(), next: next,
		Said: "the server does not offer it here; it offers: " + clean(offered)}
}

// commandLogin is the command LOGIN (RFC 9051 section 6.2.3).
func (c *Conn) commandLogin(user, secret string) (*command, error) {
	cmd, err := c.begin("logging in", "LOGIN", false)
	if err != nil {
		return nil, err
	}
	for _, s := range []string{user, secret} {
		taken, err := c.writeString(cmd, s)
		if err != nil {
			return nil, err
		}
		if !taken {
			return cmd, nil
		}
	}
	if err := c.end(cmd); err != nil {
		return nil, err
	}
	return cmd, c.wait(cmd)
}

// authenticate is AUTHENTICATE (RFC 9051 section 6.2.2), with the first answer in the
// command where SASL-IR is offered (RFC 4959).
func (c *Conn) authenticate(client sasl.Client, l Login) (*command, string, error) {
	name, initial, err := client.Start()
	if err != nil {
		return nil, name, fmt.Errorf("logging in by %s: %w", name, err)
	}
	if !c.caps.Has(imap.AuthCap(name)) {
		return nil, name, c.unoffered(l, name, "Use a mechanism that the server offers.")
	}
	line := "AUTHENTICATE " + name
	if initial != nil && c.caps.Has(imap.CapSASLIR) {
		encoded := c.encode(initial)
		if encoded == "" {
			encoded = "=" // RFC 4959 section 3
		}
		line += " " + encoded
		initial = nil
	}
	cmd, err := c.begin("logging in by "+name, line, false)
	if err != nil {
		return nil, name, err
	}
	// The server's challenges come before the answer and each is replied to with a line;
	// a reply may be the last.
	for {
		if err := c.end(cmd); err != nil {
			return nil, name, err
		}
		ahead, challenge, err := c.pause(cmd)
		if err != nil || !ahead {
			return cmd, name, err
		}
		reply := "*" // RFC 9051 section 6.2.2: we break off
		if initial != nil {
			reply, initial = c.encode(initial), nil
		} else if decoded, err := base64.StdEncoding.DecodeString(challenge); err == nil {
			if next, err := client.Next(decoded); err == nil {
				reply = c.encode(next)
			}
		}
		if err := c.write(cmd, reply); err != nil {
			return nil, name, err
		}
	}
}

// encode returns what is sent for SASL data, and keeps it from errors.
func (c *Conn) encode(data []byte) string {
	s := base64.StdEncoding.EncodeToString(data)
	c.hide(s)
	return s
}

// A bearer presents an access token. A server that refuses it says why as a challenge,
// which wants a reply before the refusal comes (RFC 7628 section 3.2.3).
type bearer struct {
	name, initial, farewell string
}

func (b *bearer) Start() (string, []byte, error) { return b.name, []byte(b.initial), nil }

func (b *bearer) Next([]byte) ([]byte, error) { return []byte(b.farewell), nil }
