package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mailmove/mailmove/providers/mail"
)

// The fields by which the audit knows a message and sees that its body is whole.
const (
	markerField = "X-Demo-Marker"
	digestField = "X-Demo-Digest"
)

// The senders, which are the beginnings of their markers.
const (
	obeying  = "obeying"
	ignoring = "ignoring"
)

// A transaction is one message that a server took for some recipients together.
type transaction struct {
	marker     string
	recipients []mail.Address
	// moved says that the MX named the new server already.
	moved bool
	// unknown says that the connection broke before the server's last answer: the
	// message may be there, and the sender came again (RFC 5321 section 4.5.3.2.6).
	unknown bool
}

// ledger is what servers said to senders.
type ledger struct {
	mu           sync.Mutex
	transactions []transaction
	refused      []string // 5xx, which no address of the domain deserves
	deferred     int
	unsent       []string // markers that were neither taken nor refused in time
}

func (l *ledger) write(f func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

// A sender is an outside server that sends mail to the domain.
type sender struct {
	name, ip string
	pause    time.Duration
	resolver *resolver
	world    *world
	ledger   *ledger
	random   *rand.Rand
	// moved is when a sender that obeys TTLs was first led to the new server, in
	// nanoseconds since 1970; 0 is not yet.
	moved *atomic.Int64
}

// linger is how long the sender that ignores TTLs goes on after the other has found
// the new server. Then it falls silent: as long as it is heard, the old server is
// not switched off.
const linger = 4 * time.Second

// newSenders makes the two senders, who look up now where the mail goes.
func newSenders(ctx context.Context, w *world, l *ledger) ([]*sender, error) {
	moved := new(atomic.Int64)
	list := []*sender{
		{name: obeying, ip: obeyingIP, pause: 60 * time.Millisecond, resolver: newResolver(w.zone.Address(), false)},
		{name: ignoring, ip: ignoringIP, pause: 120 * time.Millisecond, resolver: newResolver(w.zone.Address(), true)},
	}
	for i, s := range list {
		s.world, s.ledger, s.moved, s.random = w, l, moved, rand.New(rand.NewPCG(1, uint64(i)))
		if _, err := s.find(ctx); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// run sends until working ends, and returns when every message has been taken. One
// message follows the other, so that a slow machine gets fewer; what was put off
// waits beside them.
func (s *sender) run(ctx, working context.Context) {
	var putOff sync.WaitGroup
	defer putOff.Wait()
	for number := 0; !s.silent(); number++ {
		m := s.compose(number)
		if m.to = s.attempt(ctx, m); len(m.to) > 0 {
			putOff.Go(func() { s.retry(ctx, m) })
		}
		select {
		case <-time.After(s.pause):
		case <-working.Done():
			return
		}
	}
}

func (s *sender) silent() bool {
	moved := s.moved.Load()
	return s.name == ignoring && moved != 0 && time.Since(time.Unix(0, moved)) > linger
}

// An outgoing message is on its way.
type outgoing struct {
	marker string
	to     []mail.Address // who have not got it yet
	text   string
}

func (s *sender) compose(number int) *outgoing {
	m := &outgoing{marker: fmt.Sprintf("%s-%05d", s.name, number), to: s.recipients()}
	var body strings.Builder
	for range 1 + s.random.IntN(20) {
		fmt.Fprintf(&body, "%016x %016x %016x\r\n", s.random.Uint64(), s.random.Uint64(), s.random.Uint64())
	}
	id := ""
	if number%10 != 0 {
		id = fmt.Sprintf("Message-ID: <%s@outside.example>\r\n", m.marker)
	}
	m.text = fmt.Sprintf("From: <writer@outside.example>\r\nTo: undisclosed-recipients:;\r\nSubject: Live %s\r\n%s%s: %s\r\n%s: %s\r\n\r\n%s",
		m.marker, id, markerField, m.marker, digestField, digest([]byte(body.String())), body.String())
	return m
}

func digest(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }

// recipients chooses one of the ways to address somebody.
func (s *sender) recipients() []mail.Address {
	accounts := s.world.people.accounts
	someone := accounts[s.random.IntN(len(accounts))].address
	tagged := at(fmt.Sprintf("%s+t%d", someone.Local(), s.random.IntN(10)))
	alias := []string{"info", "sales"}[s.random.IntN(2)]
	switch n := s.random.IntN(100); {
	case n < 50:
		return []mail.Address{someone}
	case n < 60:
		return []mail.Address{tagged}
	case n < 70:
		return []mail.Address{at(alias)}
	case n < 75:
		return []mail.Address{at(alias + "+tag")}
	case n < 82:
		return []mail.Address{at("team")}
	case n < 86:
		return []mail.Address{at("all")}
	case n < 93:
		return []mail.Address{at(fmt.Sprintf("unknown%d", s.random.IntN(1000)))}
	default: // the same people by several names
		return []mail.Address{someone, tagged, at(alias), at("team")}
	}
}

// retryPause is how long a sender waits before it comes again.
const retryPause = 200 * time.Millisecond

// retry tries again until every recipient has been taken or refused.
func (s *sender) retry(ctx context.Context, m *outgoing) {
	for ; len(m.to) > 0; m.to = s.attempt(ctx, m) {
		s.ledger.write(func(l *ledger) { l.deferred++ })
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			s.ledger.write(func(l *ledger) { l.unsent = append(l.unsent, m.marker) })
			return
		}
	}
}

// attempt tries once and returns those for whom it has to be tried again.
func (s *sender) attempt(ctx context.Context, m *outgoing) (again []mail.Address) {
	ip, err := s.find(ctx)
	if err != nil {
		return m.to
	}
	conn, err := dialFrom(s.ip).DialContext(ctx, "tcp", net.JoinHostPort(ip, strconv.Itoa(s.world.smtp[ip])))
	if err != nil {
		return m.to
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	client := smtp.NewClient(conn)
	defer client.Close()
	if client.Hello(s.name+".outside.example") != nil || client.Mail("writer@outside.example", nil) != nil {
		return m.to
	}
	var taken []mail.Address
	for i, to := range m.to {
		var answer *smtp.SMTPError
		switch err := client.Rcpt(string(to), nil); {
		case err == nil:
			taken = append(taken, to)
		case !errors.As(err, &answer): // the connection is gone, and with it the transaction
			return slices.Concat(again, taken, m.to[i:])
		case answer.Code/100 == 5:
			s.ledger.write(func(l *ledger) { l.refused = append(l.refused, fmt.Sprintf("%s to %s: %v", m.marker, to, answer)) })
		default:
			again = append(again, to)
		}
	}
	if len(taken) > 0 {
		again = append(again, s.data(client, m, taken)...)
	}
	return again
}

// data sends the message itself to those who were taken, and returns them if it has
// to be tried again.
func (s *sender) data(client *smtp.Client, m *outgoing, taken []mail.Address) []mail.Address {
	t := transaction{marker: m.marker, recipients: taken, moved: s.moved.Load() != 0}
	writer, err := client.Data()
	if err != nil {
		return taken
	}
	_, err = writer.Write([]byte(m.text))
	if err == nil {
		err = writer.Close()
	}
	var answer *smtp.SMTPError
	switch {
	case err == nil:
		s.ledger.write(func(l *ledger) { l.transactions = append(l.transactions, t) })
		_ = client.Quit() // the message has been taken, however the session ends
		return nil
	case !errors.As(err, &answer):
		t.unknown = true
		s.ledger.write(func(l *ledger) { l.transactions = append(l.transactions, t) })
	case answer.Code/100 == 5:
		s.ledger.write(func(l *ledger) { l.refused = append(l.refused, fmt.Sprintf("%s: %v", m.marker, answer)) })
		return nil
	}
	return taken
}

// find returns the address of the server that takes the domain's mail.
func (s *sender) find(ctx context.Context) (string, error) {
	host, err := s.resolver.exchanger(ctx, domain)
	if err != nil {
		return "", err
	}
	ip, err := s.resolver.address(ctx, host)
	if err == nil && ip == newIP {
		s.moved.CompareAndSwap(0, time.Now().UnixNano())
	}
	return ip, err
}
