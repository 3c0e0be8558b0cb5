package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mailmove/mailmove/providers/mail"
)

// An item is one copy of a message in the queue.
type item struct {
	from  string
	to    mail.Address
	body  []byte
	since time.Time
	next  time.Time // not tried again before
}

// A delivery is one message that somebody delivered here.
type delivery struct {
	domain, host string
	at           time.Time
}

// couriers is how many messages are passed on at once.
const couriers = 8

// runQueue delivers what is in the queue until the server stops.
func (s *Server) runQueue() {
	for range couriers {
		s.stopped.Go(s.courier)
	}
}

// courier takes one item after the other.
func (s *Server) courier() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.stopped.Go(func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	for {
		s.mu.Lock()
		it, route, again := s.pick()
		changed := s.changed
		s.mu.Unlock()
		if it != nil {
			s.send(ctx, it, route)
			continue
		}
		timer := time.NewTimer(again)
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

// pick delivers what is local and returns one item to be passed on, marked
// active, or how long to wait for one. s.mu is held.
func (s *Server) pick() (*item, mail.Route, time.Duration) {
	again := time.Hour
	now := s.options.Now()
	for i := 0; i < len(s.disk.queue) && !s.down; i++ {
		it := s.disk.queue[i]
		route := s.route(base(it.to))
		switch {
		case s.active[it] || route.Mode == mail.Hold:
			continue
		case it.next.After(now):
			again = min(again, it.next.Sub(now))
			continue
		case !s.disk.domains[it.to.Domain()], route.Mode == mail.Relay:
			s.active[it] = true
			return it, route, 0
		}
		if route.Mode == mail.Tee {
			s.disk.queue = append(s.disk.queue, &item{from: it.from, to: route.To, body: it.body, since: it.since})
		}
		if err := s.deliver(it); err != nil {
			s.bounce(it, err)
		}
		s.remove(it)
		i--
	}
	return nil, mail.Route{}, again
}

// route returns the route of an account. s.mu is held.
func (s *Server) route(account mail.Address) mail.Route {
	if route, ok := s.disk.routes[account]; ok {
		return route
	}
	return mail.Route{Mode: mail.Local}
}

// deliver puts a message into the INBOX. s.mu is held.
func (s *Server) deliver(it *item) error {
	a := s.disk.accounts[base(it.to)]
	if a == nil {
		return fmt.Errorf("user unknown")
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", it.from, it.to)
	a.store.folders["INBOX"].add(append(head.Bytes(), it.body...), s.options.Now(), nil)
	return nil
}

func (s *Server) remove(it *item) {
	if i := slices.Index(s.disk.queue, it); i >= 0 {
		s.disk.queue = slices.Delete(s.disk.queue, i, i+1)
	}
}

func (s *Server) bounce(it *item, err error) {
	s.disk.bounces = append(s.disk.bounces, Bounce{From: it.from, To: string(it.to), Reason: err.Error(), Data: it.body})
}

// send passes an item on to the peer or to another domain's server.
func (s *Server) send(ctx context.Context, it *item, route mail.Route) {
	err := s.pass(ctx, it, route)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, it)
	var refused *smtp.SMTPError
	switch {
	case s.down: // as after a crash, the queue has it still
	case err == nil:
		s.remove(it)
	case errors.As(err, &refused) && refused.Code/100 == 5:
		s.bounce(it, err)
		s.remove(it)
	default:
		it.next = s.options.Now().Add(s.options.Retry)
	}
	s.broadcast()
}

func (s *Server) pass(ctx context.Context, it *item, route mail.Route) error {
	address, err := s.destination(it, route)
	if err != nil {
		return err
	}
	conn, err := s.dial(ctx, address)
	if err != nil {
		return err
	}
	end := context.AfterFunc(ctx, func() { conn.Close() })
	defer end()
	client := smtp.NewClient(conn)
	defer client.Close()
	if err := client.Hello(s.options.Name); err != nil {
		return err
	}
	if err := client.SendMail(it.from, []string{string(it.to)}, bytes.NewReader(it.body)); err != nil {
		return err
	}
	// The message has been taken; how the session ends does not matter any more.
	_ = client.Quit()
	return nil
}

func (s *Server) destination(it *item, route mail.Route) (string, error) {
	if route.Mode == mail.Relay {
		port := route.Peer.SMTP
		if port == 0 {
			port = 25
		}
		return net.JoinHostPort(route.Peer.Address, strconv.Itoa(port)), nil
	}
	if s.options.Route == nil {
		return "", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 2}, Message: "domain not found: " + it.to.Domain()}
	}
	return s.options.Route(it.to.Domain())
}
