package server

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// front is the login service: it speaks IMAP until somebody is authenticated, as
// Dovecot's imap-login does, and then hands the connection to the IMAP server
// here, or connects it with the peer's.
func (s *Server) front() {
	for {
		conn, err := s.listeners[1].Accept()
		if err != nil {
			return
		}
		s.stopped.Go(func() {
			closed := make(chan struct{})
			defer close(closed)
			s.stopped.Go(func() {
				select {
				case <-s.stop:
					conn.Close()
				case <-closed:
				}
			})
			s.greet(conn)
		})
	}
}

// authTime bounds a connection that is not authenticated, parkTime a login that
// waits (Dovecot's limit of an authentication request).
const (
	authTime = 3 * time.Minute
	parkTime = 150 * time.Second
)

// maxLine bounds a command before authentication.
const maxLine = 8 << 10

const preCapabilities = "IMAP4rev1 SASL-IR AUTH=PLAIN"

// greet serves one connection before authentication. It returns when the
// connection has been closed or handed over to the IMAP server.
func (s *Server) greet(conn net.Conn) {
	r := bufio.NewReaderSize(conn, maxLine)
	conn.SetDeadline(time.Now().Add(authTime))
	fmt.Fprintf(conn, "* OK [CAPABILITY %s] %s ready\r\n", preCapabilities, s.options.Name)
	for {
		words, err := readCommand(r, conn)
		if err != nil {
			conn.Close()
			return
		}
		if len(words) < 2 {
			fmt.Fprintf(conn, "* BAD want a tag and a command\r\n")
			continue
		}
		tag := words[0]
		switch strings.ToUpper(words[1]) {
		case "CAPABILITY":
			fmt.Fprintf(conn, "* CAPABILITY %s\r\n%s OK done\r\n", preCapabilities, tag)
		case "NOOP", "ID":
			fmt.Fprintf(conn, "%s OK done\r\n", tag)
		case "LOGOUT":
			fmt.Fprintf(conn, "* BYE\r\n%s OK done\r\n", tag)
			conn.Close()
			return
		case "LOGIN", "AUTHENTICATE":
			user, password, err := credentials(words, r, conn)
			if err != nil {
				fmt.Fprintf(conn, "%s BAD %v\r\n", tag, err)
				continue
			}
			if s.login(conn, r, tag, user, password) {
				return
			}
		default:
			fmt.Fprintf(conn, "%s BAD log in first\r\n", tag)
		}
	}
}

// credentials reads what LOGIN (RFC 9051 section 6.2.3) or AUTHENTICATE PLAIN
// (section 6.2.2) carries.
func credentials(words []string, r *bufio.Reader, conn net.Conn) (user, password string, err error) {
	if strings.EqualFold(words[1], "LOGIN") {
		if len(words) != 4 {
			return "", "", errors.New("want LOGIN user password")
		}
		return words[2], words[3], nil
	}
	if len(words) < 3 || !strings.EqualFold(words[2], "PLAIN") {
		return "", "", errors.New("only PLAIN is offered")
	}
	encoded := ""
	if len(words) > 3 {
		encoded = words[3]
	} else {
		fmt.Fprintf(conn, "+ \r\n")
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		encoded = strings.TrimRight(line, "\r\n")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	parts := bytes.Split(raw, []byte{0})
	if err != nil || len(parts) != 3 {
		return "", "", errors.New("not a PLAIN response")
	}
	return string(parts[1]), string(parts[2]), nil
}

// readCommand reads one command line with its literals.
func readCommand(r *bufio.Reader, conn net.Conn) ([]string, error) {
	var words []string
	for {
		slice, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line := strings.TrimRight(string(slice), "\r\n")
		size, sync, isLiteral := literal(line)
		if isLiteral {
			line = line[:strings.LastIndexByte(line, '{')]
		}
		words = append(words, split(line)...)
		if !isLiteral {
			return words, nil
		}
		if size > maxLine {
			return nil, errors.New("literal too long")
		}
		if sync {
			fmt.Fprintf(conn, "+ \r\n")
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, err
		}
		words = append(words, string(data))
	}
}

// literal reads {n} or {n+} at the end of a line (RFC 7888).
func literal(line string) (size int, sync, ok bool) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return 0, false, false
	}
	number, plus := strings.CutSuffix(line[open+1:len(line)-1], "+")
	size, err := strconv.Atoi(number)
	return size, !plus, err == nil && size >= 0
}

// split separates words and quoted strings.
func split(line string) []string {
	var words []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		var b strings.Builder
		i := 1
		for ; i < len(line) && line[i] != '"'; i++ {
			if line[i] == '\\' && i+1 < len(line) {
				i++
			}
			b.WriteByte(line[i])
		}
		words, line = append(words, b.String()), line[min(i+1, len(line)):]
	}
	return words
}
