package server

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mailmove/mailmove/providers/mail"
)

// maxMessage bounds a message.
const maxMessage = 64 << 20

func (s *Server) newSMTP() *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &envelope{server: s, client: remoteIP(c.Conn()), helo: c.Hostname()}, nil
	}))
	server.Domain = s.options.Name
	server.MaxMessageBytes = maxMessage
	server.MaxRecipients = 1000
	server.MaxLineLength = 1 << 20
	server.ReadTimeout, server.WriteTimeout = 5*time.Minute, time.Minute
	server.ErrorLog = log.New(io.Discard, "", 0)
	return server
}

// An envelope is one SMTP session's transaction.
type envelope struct {
	server *Server
	client string // address
	helo   string
	from   string
	to     []recipient
	marked bool
}

// A recipient is an address that was accepted and what it stands for.
type recipient struct {
	finals []mail.Address
}

func (e *envelope) Reset()        { e.from, e.to, e.marked = "", nil, false }
func (e *envelope) Logout() error { return nil }

// Mail begins a transaction.
func (e *envelope) Mail(from string, _ *smtp.MailOptions) error {
	e.Reset()
	e.from = from
	return nil
}

// Rcpt accepts or refuses a recipient.
func (e *envelope) Rcpt(to string, _ *smtp.RcptOptions) error {
	address, err := mail.ParseAddress(to)
	if err != nil || address.Local() == "" {
		return refusal(550, "5.1.3", "Bad recipient address syntax")
	}
	s := e.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.disk.domains[address.Domain()] {
		return refusal(550, "5.7.1", "Relay access denied")
	}
	trusted := s.trusts(e.client, address.Domain())
	if !trusted && !s.authorised(e.from, e.client) {
		if s.options.Policy == Reject {
			return refusal(550, "5.7.23", "SPF validation failed")
		}
		e.marked = s.options.Policy == Mark
	}
	finals := []mail.Address{address}
	if trusted {
		// The peer has expanded aliases already; again would double mail of an alias
		// that keeps a copy.
		if s.disk.accounts[base(address)] == nil {
			return refusal(450, "4.1.1", "User unknown to this server yet")
		}
	} else if finals, err = s.expand(address); err != nil {
		return refusal(550, "5.1.1", err.Error())
	}
	e.to = append(e.to, recipient{finals: finals})
	return nil
}

func refusal(code int, enhanced, text string) error {
	var e smtp.EnhancedCode
	fmt.Sscanf(enhanced, "%d.%d.%d", &e[0], &e[1], &e[2])
	return &smtp.SMTPError{Code: code, EnhancedCode: e, Message: text}
}

// Data takes the message: when it returns nil, every copy is in the queue or in a
// mailbox.
func (e *envelope) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s := e.server
	now := s.options.Now()
	var head bytes.Buffer
	if e.marked {
		fmt.Fprintf(&head, "Received-SPF: fail (%s: domain of %s does not designate %s as permitted sender)\r\n", s.options.Name, e.from, e.client)
	}
	fmt.Fprintf(&head, "Received: from %s ([%s])\r\n\tby %s with ESMTP;\r\n\t%s\r\n", e.helo, e.client, s.options.Name, now.Format(time.RFC1123Z))
	body = append(head.Bytes(), body...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return refusal(421, "4.3.2", "Shutting down")
	}
	seen := map[mail.Address]bool{} // one copy for each distinct final address
	for _, to := range e.to {
		for _, final := range to.finals {
			if !seen[final] {
				seen[final] = true
				s.accept(e, final, body, now)
			}
		}
	}
	s.broadcast()
	return nil
}

// accept puts one copy into the queue, or, what a trusted peer hands over for an
// account that is away here, into the mailbox.
func (s *Server) accept(e *envelope, final mail.Address, body []byte, now time.Time) {
	domain := final.Domain()
	trusted := s.trusts(e.client, domain)
	if s.disk.domains[domain] && !trusted && e.client != s.options.Address {
		s.disk.direct = append(s.disk.direct, delivery{domain: domain, host: e.client, at: now})
	}
	it := &item{from: e.from, to: final, body: body, since: now}
	if route := s.route(base(final)); trusted && route.Mode == mail.Relay && !route.Left {
		if s.deliver(it) == nil {
			return
		}
	}
	s.disk.queue = append(s.disk.queue, it)
}

// authorised says what SPF would.
func (s *Server) authorised(from, client string) bool {
	_, domain, ok := strings.Cut(from, "@")
	if !ok {
		return true
	}
	allowed, known := s.options.Authorised[strings.ToLower(domain)]
	return !known || slices.Contains(allowed, client)
}

// trusts reports whether a client is a trusted peer for a domain. s.mu is held.
func (s *Server) trusts(client, domain string) bool {
	return s.disk.trusts[mail.Trust{Peer: client, Domain: domain}]
}

// base returns an address without its plus-extension.
func base(a mail.Address) mail.Address {
	name, _, ok := strings.Cut(a.Local(), "+")
	if !ok || name == "" {
		return a
	}
	return mail.Address(name + "@" + a.Domain())
}

// maxExpansion bounds the nesting of aliases.
const maxExpansion = 50

// expand returns what an address stands for, in order and without repetition, as
// virtual(5) of Postfix says: an address that maps to itself ends the expansion;
// looked up are the whole address, then the one without extension (which is
// passed on to the result), then the catch-all of its domain. s.mu is held.
func (s *Server) expand(address mail.Address) ([]mail.Address, error) {
	var finals []mail.Address
	seen := map[mail.Address]bool{}
	var walk func(mail.Address, int) error
	walk = func(a mail.Address, depth int) error {
		if depth > maxExpansion {
			return fmt.Errorf("alias nesting too deep")
		}
		if seen[a] {
			return nil
		}
		seen[a] = true
		members, ok := s.lookup(a)
		if !ok {
			return s.final(a, &finals)
		}
		for _, m := range members {
			if m == a || base(m) == base(a) && s.disk.accounts[base(a)] != nil {
				if err := s.final(m, &finals); err != nil {
					return err
				}
				continue
			}
			if err := walk(m, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(address, 0); err != nil {
		return nil, err
	}
	if len(finals) == 0 {
		return nil, fmt.Errorf("<%s>: Recipient address rejected: alias loop", address)
	}
	return finals, nil
}

// final ends an expansion: an account here, or any address elsewhere.
func (s *Server) final(a mail.Address, finals *[]mail.Address) error {
	if s.disk.domains[a.Domain()] && s.disk.accounts[base(a)] == nil {
		return fmt.Errorf("<%s>: Recipient address rejected: User unknown", a)
	}
	if !slices.Contains(*finals, a) {
		*finals = append(*finals, a)
	}
	return nil
}

// lookup finds the alias of an address.
func (s *Server) lookup(a mail.Address) ([]mail.Address, bool) {
	if alias, ok := s.disk.aliases[a]; ok {
		return alias.Members, true
	}
	plain := base(a)
	if plain != a {
		if alias, ok := s.disk.aliases[plain]; ok {
			extension := strings.TrimPrefix(a.Local(), plain.Local())
			members := make([]mail.Address, len(alias.Members))
			for i, m := range alias.Members {
				members[i] = mail.Address(m.Local() + extension + "@" + m.Domain())
			}
			return members, true
		}
	}
	// A mailbox is protected from the catch-all, as by an identity entry.
	if s.disk.accounts[plain] != nil || !s.disk.domains[a.Domain()] {
		return nil, false
	}
	alias, ok := s.disk.aliases[mail.Address("@"+a.Domain())]
	if !ok {
		return nil, false
	}
	members := make([]mail.Address, len(alias.Members))
	for i, m := range alias.Members {
		members[i] = m
		if m.Local() == "" { // an alias domain keeps the local part
			members[i] = mail.Address(a.Local() + "@" + m.Domain())
		}
	}
	return members, true
}
