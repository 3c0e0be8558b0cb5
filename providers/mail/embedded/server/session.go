package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
)

// A session is an authenticated connection, served here or proxied. Its fields are
// guarded by Server.mu.
type session struct {
	account mail.Address
	conn    net.Conn
	proxied bool
	// upstream is the connection to the peer of a proxied session.
	upstream net.Conn
	// entered says that the client has been told that it is in.
	entered bool
	// ended: nothing the session asks for is done any more.
	ended bool
}

// errWrong is that of a password.
var errWrong = errors.New("wrong password")

// login checks a password, waits while the account is parked, and serves or
// proxies: then the password is for the peer to check, where it may have been
// changed. It reports whether the connection is done with.
func (s *Server) login(conn net.Conn, r *bufio.Reader, tag, user, password string) bool {
	address, err := mail.ParseAddress(user)
	wrong := func() bool {
		fmt.Fprintf(conn, "%s NO [AUTHENTICATIONFAILED] Authentication failed\r\n", tag)
		return false
	}
	if err != nil {
		return wrong()
	}
	ctx, cancel := context.WithTimeout(context.Background(), parkTime)
	defer cancel()
	conn.SetDeadline(time.Time{})
	for range proxyTries {
		sess, mode, err := s.admit(ctx, address, password, conn, tag)
		if errors.Is(err, errWrong) {
			return wrong()
		}
		if sess == nil {
			break
		}
		if !sess.proxied {
			s.inside.hand(&insideConn{Conn: conn, reader: r, session: sess})
			return true
		}
		done, again := s.proxy(sess, r, tag, user, password, mode.Peer)
		s.forget(sess)
		if !again {
			return done
		}
		select {
		case <-s.stop:
			conn.Close()
			return true
		case <-time.After(proxyPause):
		}
	}
	fmt.Fprintf(conn, "%s NO [UNAVAILABLE] The account cannot be used right now\r\n", tag)
	conn.SetDeadline(time.Now().Add(authTime))
	return false
}

// admit waits until the account's mode lets somebody in. In the same instant the
// session is registered and, if it is served here, the client is told: who is told
// nothing is not in, and tries again by the new mode.
func (s *Server) admit(ctx context.Context, account mail.Address, password string, conn net.Conn, tag string) (*session, mail.Login, error) {
	var sess *session
	var mode mail.Login
	var refused error
	err := s.wait(ctx, func() bool {
		if s.down {
			return false
		}
		mode = s.mode(account)
		keep := s.trusts(remoteIP(conn), account.Domain()) && !mode.Left
		proxied := mode.Mode == mail.Proxied && !keep
		if a := s.disk.accounts[account]; a == nil || !proxied && !checkPassword(a.hash, password) {
			refused = errWrong
			return true
		}
		switch mode.Mode {
		case mail.Closed:
			return true
		case mail.Parked:
			return false
		}
		sess = &session{account: account, conn: conn, proxied: proxied}
		if s.sessions[account] == nil {
			s.sessions[account] = map[*session]bool{}
		}
		s.sessions[account][sess] = true
		if !sess.proxied {
			sess.enter(tag + " OK Logged in\r\n")
		}
		return true
	})
	if err != nil {
		return nil, mode, err
	}
	return sess, mode, refused
}

// enter tells the client that it is in. Server.mu is held, and a client that does
// not take a line is not waited for.
func (sess *session) enter(answer string) {
	sess.entered = true
	sess.conn.SetWriteDeadline(time.Now().Add(time.Second))
	io.WriteString(sess.conn, answer) // a client that has gone is noticed when it is read from
	sess.conn.SetWriteDeadline(time.Time{})
}

// forget removes a session that has ended.
func (s *Server) forget(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions[sess.account], sess)
	if len(s.sessions[sess.account]) == 0 {
		delete(s.sessions, sess.account)
	}
}

// endSessions ends all sessions of an account. s.mu is held: from now on none of
// them changes anything. Who is not in yet keeps the connection, and waits.
func (s *Server) endSessions(account mail.Address) {
	for sess := range s.sessions[account] {
		sess.ended = true
		if sess.upstream != nil {
			sess.upstream.Close()
		}
		if sess.entered {
			sess.conn.Close()
		}
	}
}

func (s *Server) openSessions() []*session {
	var list []*session
	for _, of := range s.sessions {
		for sess := range of {
			list = append(list, sess)
		}
	}
	return list
}

// proxyTries is how often a login is tried at the peer, every proxyPause.
const (
	proxyTries = 100
	proxyPause = 100 * time.Millisecond
)

// proxy logs in at the peer with the user's own password and joins the
// connections. done says that the connection is done with, again that the peer did
// not answer, or that the account's mode changed meanwhile.
func (s *Server) proxy(sess *session, r *bufio.Reader, tag, user, password string, peer mail.Endpoint) (done, again bool) {
	port := peer.IMAP
	if port == 0 {
		port = 143
	}
	upstream, err := s.dial(context.Background(), net.JoinHostPort(peer.Address, strconv.Itoa(port)))
	if err != nil {
		return false, true
	}
	defer upstream.Close()
	s.mu.Lock()
	sess.upstream = upstream
	ended := sess.ended || s.down
	s.mu.Unlock()
	if ended {
		return false, true
	}
	up := bufio.NewReader(upstream)
	answer, err := authenticate(upstream, up, user, password)
	if err != nil || strings.HasPrefix(answer, "NO [UNAVAILABLE]") {
		return false, true
	}
	s.mu.Lock()
	ended = sess.ended
	if !ended && strings.HasPrefix(answer, "OK") {
		sess.enter(tag + " " + answer + "\r\n")
	}
	s.mu.Unlock()
	switch {
	case ended:
		return false, true
	case !sess.entered:
		fmt.Fprintf(sess.conn, "%s %s\r\n", tag, answer)
		return false, false
	}
	var both sync.WaitGroup
	join := func(to, from net.Conn, r io.Reader) {
		both.Go(func() {
			io.Copy(to, r) // an error ends the session, as its end does
			to.Close()
			from.Close()
		})
	}
	join(upstream, sess.conn, r)
	join(sess.conn, upstream, up)
	both.Wait()
	return true, false
}

// authenticate logs in and returns the tagged answer without its tag.
func authenticate(conn net.Conn, r *bufio.Reader, user, password string) (string, error) {
	if _, err := r.ReadString('\n'); err != nil { // the greeting
		return "", err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	if _, err := fmt.Fprintf(conn, "p AUTHENTICATE PLAIN %s\r\n", plain); err != nil {
		return "", err
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if answer, ok := strings.CutPrefix(line, "p "); ok {
			return strings.TrimRight(answer, "\r\n"), nil
		}
	}
}

// insideConn is a connection that the login service hands to the IMAP server. That
// server greets as authenticated, which the client does not see: it has been told.
type insideConn struct {
	net.Conn
	reader  *bufio.Reader
	session *session
	greeted bool
}

func (c *insideConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

func (c *insideConn) Write(p []byte) (int, error) {
	if !c.greeted && bytes.HasPrefix(p, []byte("* PREAUTH")) {
		c.greeted = true
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// handoverListener gives the IMAP server the connections that are authenticated.
type handoverListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandoverListener() *handoverListener {
	return &handoverListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *handoverListener) hand(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.done:
		conn.Close()
	}
}

func (l *handoverListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *handoverListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *handoverListener) Addr() net.Addr { return &net.TCPAddr{} }
