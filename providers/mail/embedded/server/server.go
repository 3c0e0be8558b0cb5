// Package server is a mail server in a process: real SMTP and IMAP on loopback,
// with accounts, aliases, a queue, a relay and a login proxy, controlled over HTTP.
// mailmove's demonstration and tests move domains between two of them.
//
// It behaves as Postfix and Dovecot do where it matters: aliases are expanded
// with an identity ending the expansion, plus-addresses reach their account, an
// accepted message is in the queue or in a mailbox at every moment, a login is
// checked here before it is proxied, IMAP shows UIDs, UIDVALIDITY, flags, keywords,
// dates and subscriptions.
//
// A [Disk] is what survives a crash, a [Server] the process that serves it:
//
//	disk := server.NewDisk()
//	s, err := server.Start(disk, server.Options{Address: "127.0.0.2", Token: "secret"})
//	s.AddDomain("example.com")
//	s.AddAccount("murphy@example.com", "password", 0)
//	s.Stop()                     // as by kill -9
//	s, err = server.Start(disk, …) // as before
//
// Servers know each other by IP address: each has one of its own (127.0.0.0/8) and
// uses it as the source of its connections.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"

	"github.com/mailmove/mailmove/providers/mail"
)

// Options of a server.
type Options struct {
	// Address is the loopback address of the server.
	Address string
	// Name is the server's host name; Address if empty.
	Name string
	// SMTP, IMAP and Control are ports; 0 is any free one.
	SMTP, IMAP, Control int
	// Token opens the control interface.
	Token string
	// Policy says what happens to mail whose sender's domain does not authorise the
	// client (RFC 7208). A trusted peer is exempt.
	Policy Policy
	// Authorised are the addresses that may send for a domain; a domain that is not
	// named authorises all.
	Authorised map[string][]string
	// Route returns where mail for a domain that is not served here goes, host:port.
	// nil: there is no such domain.
	Route func(domain string) (string, error)
	// Retry is how long a message that could not be passed on waits; default 200ms.
	Retry time.Duration
	// Now is the clock; default [time.Now].
	Now func() time.Time
}

// Policy is what a server does with mail from an unauthorised client.
type Policy string

const (
	// Ignore: nothing.
	Ignore Policy = ""
	// Mark: a Received-SPF field says so.
	Mark Policy = "mark"
	// Reject: refused at RCPT.
	Reject Policy = "reject"
)

// Server is a running mail server.
type Server struct {
	disk    *Disk
	options Options

	smtp      *smtp.Server
	imap      *imapserver.Server
	control   *http.Server
	listeners [3]net.Listener
	inside    *handoverListener

	stop    chan struct{}
	stopped sync.WaitGroup

	// mu guards what follows and the disk: the whole server is one critical section
	// but for waiting, network and hashing.
	mu sync.Mutex
	// changed is closed and replaced when routes, logins, handoffs or the queue change.
	changed  chan struct{}
	sessions map[mail.Address]map[*session]bool
	active   map[*item]bool
	down     bool
}

// Start serves a disk.
func Start(disk *Disk, options Options) (*Server, error) {
	if options.Name == "" {
		options.Name = options.Address
	}
	if options.Retry == 0 {
		options.Retry = 200 * time.Millisecond
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &Server{
		disk: disk, options: options, stop: make(chan struct{}), changed: make(chan struct{}),
		sessions: map[mail.Address]map[*session]bool{}, active: map[*item]bool{},
	}
	for i, port := range []int{options.SMTP, options.IMAP, options.Control} {
		l, err := net.Listen("tcp", net.JoinHostPort(options.Address, fmt.Sprint(port)))
		if err != nil {
			s.Stop()
			return nil, fmt.Errorf("starting the mail server %s: %w", options.Name, err)
		}
		s.listeners[i] = l
	}
	s.serve()
	return s, nil
}

// serve starts what serves the listeners.
func (s *Server) serve() {
	s.smtp = s.newSMTP()
	s.inside = newHandoverListener()
	s.imap = s.newIMAP()
	s.control = &http.Server{Handler: s.controlHandler(), ReadHeaderTimeout: 10 * time.Second}
	s.stopped.Go(func() { s.ended("SMTP", s.smtp.Serve(s.listeners[0])) })
	s.stopped.Go(func() { s.ended("IMAP", s.imap.Serve(s.inside)) })
	s.stopped.Go(s.front)
	s.stopped.Go(func() { s.ended("control", s.control.Serve(s.listeners[2])) })
	s.stopped.Go(s.runQueue)
	s.stopped.Go(s.runSentry)
}

// ended checks that a service ended because it was told to.
func (s *Server) ended(service string, err error) {
	select {
	case <-s.stop:
	default:
		if err != nil && !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("the %s service of %s ended by itself: %v", service, s.options.Name, err))
		}
	}
}

// Stop ends the server as a crash does: what is not on the disk is gone.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.down {
		s.mu.Unlock()
		return
	}
	s.down = true
	close(s.stop)
	s.broadcast()
	open := s.openSessions()
	s.mu.Unlock()
	for _, l := range s.listeners {
		if l != nil {
			l.Close()
		}
	}
	if s.smtp != nil {
		s.smtp.Close()
		s.inside.Close() // which ends the IMAP server; its sessions are closed below
		s.control.Close()
	}
	for _, sess := range open {
		sess.conn.Close()
	}
	s.stopped.Wait()
}

// broadcast wakes everybody who waits for a change. s.mu is held.
func (s *Server) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits until done says so, which is asked under the lock at every change.
// It returns without when ctx ends or the server stops.
func (s *Server) wait(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := done(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.stop:
			return errStopped
		}
	}
}

var errStopped = errors.New("the server is stopping")

// SMTPAddr, IMAPAddr and ControlURL say where the server listens.
func (s *Server) SMTPAddr() string { return s.listeners[0].Addr().String() }

// IMAPAddr is where IMAP is served.
func (s *Server) IMAPAddr() string { return s.listeners[1].Addr().String() }

// ControlURL is what the provider "embedded" takes as its address.
func (s *Server) ControlURL() string { return "http://" + s.listeners[2].Addr().String() }

// Endpoint is where the peer reaches the server.
func (s *Server) Endpoint() mail.Endpoint {
	port := func(i int) int { return s.listeners[i].Addr().(*net.TCPAddr).Port }
	return mail.Endpoint{Address: s.options.Address, Name: s.options.Name, SMTP: port(0), IMAP: port(1)}
}

// dial opens a connection from the server's own address.
func (s *Server) dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.options.Address)}, Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", address)
}

// remoteIP returns the client's address.
func remoteIP(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}
