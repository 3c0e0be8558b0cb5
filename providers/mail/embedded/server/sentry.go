package server

import (
	"context"
	"fmt"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
)

// A handoff is one account's change of home, on the server that it leaves.
type handoff struct {
	account  mail.Address
	peer     mail.Endpoint
	state    mail.HandoffState
	deadline time.Time
}

// runSentry ends handoffs whose deadline has come, until the server stops.
func (s *Server) runSentry() {
	for {
		s.mu.Lock()
		next := s.expire()
		changed := s.changed
		s.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// expire ends handoffs whose deadline has come, and returns how long it is to the
// next one. s.mu is held.
func (s *Server) expire() time.Duration {
	next := time.Hour
	now := s.options.Now()
	for _, h := range s.disk.handoffs {
		switch {
		case h.state != mail.Armed:
		case h.deadline.After(now):
			next = min(next, h.deadline.Sub(now))
		default:
			h.state = mail.Expired
			s.reopen(h.account)
		}
	}
	return next
}

// reopen makes an account local and open. s.mu is held.
func (s *Server) reopen(account mail.Address) {
	delete(s.disk.routes, account)
	delete(s.disk.logins, account)
	s.broadcast()
}

// arm begins a handoff or moves its deadline. s.mu is held.
func (s *Server) arm(op string, account mail.Address, peer mail.Endpoint, within time.Duration) error {
	if h := s.disk.handoffs[op]; h != nil && h.state == mail.Committed {
		return nil
	}
	if s.route(account).Mode == mail.Relay {
		return &failure{Text: fmt.Sprintf("arming the handoff of %s: the account is not at home here any more", account), Hint: "Run mailmove apply again."}
	}
	for other, h := range s.disk.handoffs {
		if other != op && h.account == account && h.state == mail.Armed {
			h.state = mail.Expired
		}
	}
	s.disk.handoffs[op] = &handoff{account: account, peer: peer, state: mail.Armed, deadline: s.options.Now().Add(within)}
	s.broadcast()
	return nil
}

// commit decides a handoff: in the same instant the account leaves. s.mu is held.
func (s *Server) commit(op string) error {
	h := s.disk.handoffs[op]
	if h != nil && h.state == mail.Committed {
		return nil
	}
	if h == nil || h.state == mail.Expired || !h.deadline.After(s.options.Now()) {
		return mail.ErrExpired
	}
	h.state = mail.Committed
	s.disk.routes[h.account] = mail.Route{Mode: mail.Relay, Peer: h.peer, Left: true}
	s.disk.logins[h.account] = mail.Login{Mode: mail.Proxied, Peer: h.peer, Left: true}
	s.endSessions(h.account)
	s.broadcast()
	return nil
}

// disarm ends a handoff. What is decided was completed in the same instant. s.mu
// is held.
func (s *Server) disarm(op string) {
	if h := s.disk.handoffs[op]; h != nil && h.state == mail.Armed {
		h.state = mail.Expired
		s.reopen(h.account)
	}
}

// setRoutes makes routes so and waits until no message is on its way by another.
func (s *Server) setRoutes(ctx context.Context, routes map[mail.Address]mail.Route) error {
	s.mu.Lock()
	for account, route := range routes {
		if route.Mode == mail.Local {
			delete(s.disk.routes, account)
		} else {
			route.Left = false
			s.disk.routes[account] = route
		}
	}
	for _, it := range s.disk.queue {
		if _, ok := routes[base(it.to)]; ok {
			it.next = time.Time{}
		}
	}
	s.broadcast()
	s.mu.Unlock()
	return s.wait(ctx, func() bool {
		for it := range s.active {
			if _, ok := routes[base(it.to)]; ok {
				return false
			}
		}
		return true
	})
}

// setLogins makes modes so and ends the sessions that another mode let in. s.mu is
// held.
func (s *Server) setLogins(logins map[mail.Address]mail.Login) {
	for account, login := range logins {
		was := s.mode(account)
		login.Left = false
		if login.Mode == mail.Open {
			delete(s.disk.logins, account)
		} else {
			s.disk.logins[account] = login
		}
		if was.Mode != login.Mode || was.Peer != login.Peer {
			s.endSessions(account)
		}
	}
	s.broadcast()
}

// mode returns the login mode of an account. s.mu is held.
func (s *Server) mode(account mail.Address) mail.Login {
	if login, ok := s.disk.logins[account]; ok {
		return login
	}
	return mail.Login{Mode: mail.Open}
}
