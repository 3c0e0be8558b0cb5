package demo

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailmove/mailmove/providers/mail"
)

// diary is what servers said to users.
type diary struct {
	mu      sync.Mutex
	actions []action
	logins  []attempt
}

// An action is something a user did to a message. Those that a server refused are
// not recorded: nothing was done.
type action struct {
	account mail.Address
	verb    verb
	place   place
	message message // as it was before; of an append as it was written
	flag    string  // of a verb flag
	to      place   // of a verb move
	// unknown says that the connection broke before the answer.
	unknown bool
}

type verb string

const (
	flag   verb = "flag"
	move   verb = "move"
	write  verb = "write"
	remove verb = "remove"
)

// A place is what IMAP clients remember a message by (RFC 9051 section 2.3.1.1).
type place struct {
	folder string
	uid    imap.UID
}

// An attempt is one try to log in.
type attempt struct {
	account mail.Address
	took    time.Duration
	err     error
}

// A user is one person with three clients: a desktop program, whose session stays
// until a server ends it, a telephone, which logs in anew for everything, and a
// probe, which only measures how long a login takes.
type user struct {
	account  account
	world    *world
	resolver *resolver
	diary    *diary
	turn     sync.Mutex // one client acts at a time, so that actions have an order
	random   *rand.Rand // used in turn only
	written  int        // used in turn only
}

func newUser(w *world, a account, number uint64, d *diary) *user {
	return &user{account: a, world: w, resolver: newResolver(w.zone.Address(), false), diary: d, random: rand.New(rand.NewPCG(3, number))}
}

// run starts the clients. They finish what they have begun when working ends, and
// are cut off with ctx.
func (u *user) run(ctx, working context.Context, group *sync.WaitGroup) {
	// The load is the same however many there are.
	n := time.Duration(len(u.world.people.accounts))
	group.Go(func() { u.desktop(ctx, working, 40*time.Millisecond*n) })
	group.Go(func() { u.every(working, 60*time.Millisecond*n, func() { u.phone(ctx) }) })
	group.Go(func() { u.every(working, 10*time.Millisecond*n, func() { u.probe(ctx) }) })
}

// every calls f again and again while working lasts.
func (u *user) every(working context.Context, pause time.Duration, f func()) {
	for {
		select {
		case <-working.Done():
			return
		case <-time.After(pause):
			f()
		}
	}
}

// login logs in where DNS says that the domain's mail is read, and records it.
func (u *user) login(ctx context.Context) *session {
	host, err := u.resolver.address(ctx, "imap."+domain)
	began := time.Now()
	var s *session
	if err == nil {
		s, err = login(ctx, net.JoinHostPort(host, strconv.Itoa(u.world.imap[host])), u.account)
	}
	if ctx.Err() != nil { // ended by us, not by a server
		return s
	}
	u.diary.mu.Lock()
	defer u.diary.mu.Unlock()
	u.diary.logins = append(u.diary.logins, attempt{u.account.address, time.Since(began), err})
	return s
}

func (u *user) probe(ctx context.Context) {
	if s := u.login(ctx); s != nil {
		_ = s.Logout().Wait() // only the login is measured
		s.Close()
	}
}

func (u *user) phone(ctx context.Context) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if s := u.login(ctx); s != nil {
		u.act(s)
		s.Close()
	}
}

func (u *user) desktop(ctx, working context.Context, pause time.Duration) {
	var s *session
	u.every(working, pause, func() {
		u.turn.Lock()
		defer u.turn.Unlock()
		if s != nil {
			select {
			case <-s.Closed():
				s.Close()
				s = nil
			default:
			}
		}
		if s == nil {
			s = u.login(ctx)
		}
		if s != nil {
			u.act(s)
		}
	})
	if s != nil {
		s.Close()
	}
}
