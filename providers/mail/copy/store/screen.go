package store

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A screen stands between a server and go-imap and lets through what go-imap can take:
//
//   - Responses that it would close the connection for are left out: kinds it does not
//     know, and mailboxes whose names are not in modified UTF-7, which are kept apart.
//   - A FETCH response that lacks what was asked for is left out, because go-imap would
//     take it for the answer and drop the answer itself.
//   - Flags that are no atoms but are seen in the wild, such as "Foo]", are veiled.
//   - LIST (SUBSCRIBED) becomes LSUB for a server without LIST-EXTENDED.
//   - Everything but bodies is bounded.
//
// Silence is not its business: the connection that package wire hands over sees to that.
type screen struct {
	net.Conn
	in *bufio.Reader

	// What belongs to the reader.
	out      []byte // let through and not read yet
	literal  int64  // octets of a body that are to be let through
	response response
	scratch  []byte

	needs atomic.Pointer[string] // what a FETCH response must have
	lsub  atomic.Bool            // LIST (SUBSCRIBED) is to become LSUB
	// What go-imap tells too late or not at all of the mailbox that is open: how many messages
	// there are, and whether PERMANENTFLAGS came, which may be empty.
	messages  atomic.Int64
	permanent atomic.Bool

	mu       sync.Mutex
	why      error  // the connection has ended
	farewell string // what the server said with BYE
	unnamed  []string
	oddNames int
}

// A response is the one that is being let through: a line, or lines with literals between.
type response struct {
	within bool   // its first line has been seen
	kind   string // upper case; "" if it is tagged or a continuation request
	drop   bool
	size   int
}

const (
	maxLine    = 64 << 10
	maxSearch  = 16 << 20 // a million UIDs one by one
	maxLiteral = 8 << 10  // of anything but a body
	maxUnnamed = 100
)

func newScreen(conn net.Conn) *screen {
	return &screen{Conn: conn, in: bufio.NewReaderSize(conn, maxLine)}
}

// need says what a FETCH response must have from now on; "" is nothing.
func (s *screen) need(item string) { s.needs.Store(&item) }

// end closes the connection; the first cause counts.
func (s *screen) end(cause error) {
	s.mu.Lock()
	if s.why == nil {
		s.why = cause
	}
	s.mu.Unlock()
	_ = s.Conn.Close() // why it ends is told
}

// cause returns why the connection has ended; nil if it has not.
func (s *screen) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// bye returns what the server said when it hung up.
func (s *screen) bye() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.farewell
}

// takeUnnamed returns the names that were left out since the last call, as the server wrote
// them, at most maxUnnamed, and how many there were.
func (s *screen) takeUnnamed() (names []string, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, all = s.unnamed, s.oddNames
	s.unnamed, s.oddNames = nil, 0
	return names, all
}

// Read implements [net.Conn].
func (s *screen) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.literal > 0 {
			n, err := s.in.Read(p[:min(int64(len(p)), s.literal)])
			s.literal -= int64(n)
			return n, s.failed(err)
		}
		if err := s.advance(); err != nil {
			return 0, s.failed(err)
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// failed notes why the connection has ended. go-imap is told nothing but that it has:
// with any other error in the middle of a body it would wait for its reader for ever.
func (s *screen) failed(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection")
	}
	s.end(err)
	return io.EOF
}

// advance reads a line and lets through what of it go-imap is to see.
func (s *screen) advance() error {
	line, err := s.line()
	if err != nil {
		return err
	}
	r := &s.response
	if !r.within {
		*r = response{within: true, kind: kindOf(line), size: len(line)}
	}
	rest, announced, hasLiteral := cutLiteral(line)
	if r.kind == "" || isStatus(r.kind) { // what is for people may end like an announcement
		hasLiteral = false
	}
	r.within = hasLiteral
	var out []byte
	if out, err = s.translate(line); err != nil {
		return err
	}
	if !hasLiteral {
		s.out = out
		return nil
	}
	if r.kind == "FETCH" && bytes.HasSuffix(bytes.ToUpper(rest), []byte("BODY[] ")) && !r.drop {
		s.out, s.literal = out, announced
		return nil
	}
	if announced > maxLiteral {
		return broken("a %s response with a literal of %d octets", r.kind, announced)
	}
	out = bytes.Clone(out) // it lies in the buffer that is read into
	literal := make([]byte, announced)
	if _, err := io.ReadFull(s.in, literal); err != nil {
		return err
	}
	if namesMailbox(r.kind) && !r.drop && !isName(string(literal)) {
		r.drop = true
		s.leaveOut(string(literal), r.kind)
	}
	if !r.drop {
		s.out = append(out, literal...)
	}
	return nil
}

// line reads a line with its end, bounded together with the rest of its response.
func (s *screen) line() ([]byte, error) {
	line, err := s.in.ReadSlice('\n')
	if err == nil && !s.response.within {
		return line, nil
	}
	s.scratch = append(s.scratch[:0], line...)
	limit := maxLine
	if kind := kindOf(s.scratch); !s.response.within && (kind == "SEARCH" || kind == "ESEARCH") {
		limit = maxSearch
	}
	if s.response.within {
		s.response.size += len(line)
		limit -= s.response.size - len(line)
	}
	for errors.Is(err, bufio.ErrBufferFull) && len(s.scratch) <= limit {
		line, err = s.in.ReadSlice('\n')
		s.scratch = append(s.scratch, line...)
	}
	if len(s.scratch) > limit {
		return nil, broken("a response of more than %d octets that begins with %s", limit, quote(string(s.scratch[:min(40, len(s.scratch))])))
	}
	return s.scratch, err
}

// kindOf returns the kind of an untagged response from its first line.
func kindOf(line []byte) string {
	rest, untagged := bytes.CutPrefix(line, []byte("* "))
	if !untagged {
		return ""
	}
	word, rest, _ := bytes.Cut(rest, []byte(" "))
	if len(word) > 0 && word[0] >= '0' && word[0] <= '9' {
		word, _, _ = bytes.Cut(rest, []byte(" "))
	}
	return strings.ToUpper(strings.TrimRight(string(word[:min(len(word), 40)]), "\r\n"))
}

func namesMailbox(kind string) bool { return kind == "LIST" || kind == "LSUB" || kind == "STATUS" }

func isStatus(kind string) bool {
	switch kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// cutLiteral parts a line from the announcement of a literal at its end.
func cutLiteral(line []byte) (rest []byte, size int64, ok bool) {
	line = bytes.TrimRight(line, "\r\n")
	at := bytes.LastIndexByte(line, '{')
	if at < 0 || !bytes.HasSuffix(line, []byte("}")) {
		return nil, 0, false
	}
	size, err := strconv.ParseInt(string(line[at+1:len(line)-1]), 10, 64)
	return line[:at], size, err == nil && size >= 0
}

// translate returns what go-imap is to see of a line; nothing for one that is left out.
func (s *screen) translate(line []byte) ([]byte, error) {
	r := &s.response
	if r.drop {
		return nil, nil
	}
	first := r.size == len(line)
	switch r.kind {
	case "BYE":
		s.mu.Lock()
		s.farewell = quote(strings.TrimSpace(string(line[min(len("* BYE "), len(line)):])))
		s.mu.Unlock()
		return line, nil
	case "", "NO", "BAD", "PREAUTH", "CAPABILITY", "RECENT", "SEARCH", "ESEARCH", "ENABLED", "ID",
		"NAMESPACE", "QUOTA", "QUOTAROOT":
		return line, nil
	case "EXISTS":
		s.messages.Store(number(line))
		return line, nil
	case "EXPUNGE":
		s.messages.Add(-1)
		return line, nil
	case "OK", "FLAGS":
		if bytes.HasPrefix(bytes.ToUpper(line), []byte("* OK [PERMANENTFLAGS ")) {
			s.permanent.Store(true)
		}
		return veilFlags(line), nil
	case "FETCH":
		if need := s.needs.Load(); first && need != nil && !bytes.Contains(bytes.ToUpper(line), []byte(*need)) {
			r.drop = true
			return nil, nil
		}
		return veilFlags(line), nil
	case "LIST", "LSUB", "STATUS":
		if !first {
			return line, nil
		}
		if name, ok := nameIn(r.kind, line); ok && !isName(name) {
			r.drop = true
			s.leaveOut(name, r.kind)
			return nil, nil
		}
		return bytes.Replace(line, []byte("* LSUB "), []byte("* LIST "), 1), nil
	}
	r.drop = true
	return nil, nil
}

// number returns the one of "* 12 EXISTS".
func number(line []byte) int64 {
	word, _, _ := bytes.Cut(line[min(2, len(line)):], []byte(" "))
	n, err := strconv.ParseUint(string(word), 10, 32)
	if err != nil {
		return 0 // go-imap closes the connection for it
	}
	return int64(n)
}

func (s *screen) leaveOut(name, kind string) {
	if kind == "STATUS" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oddNames++
	if len(s.unnamed) < maxUnnamed {
		s.unnamed = append(s.unnamed, name)
	}
}

// nameIn returns the mailbox name of a LIST, LSUB or STATUS response as it is on the wire,
// unless it is a literal.
func nameIn(kind string, line []byte) (string, bool) {
	text := strings.TrimRight(string(line), "\r\n")
	_, text, _ = strings.Cut(text[2:], " ") // behind "* LIST"
	if kind != "STATUS" {
		_, behind, ok := strings.Cut(text, ") ") // the attributes
		if !ok {
			return "", false
		}
		_, text = cutString(behind) // the separator
		text = strings.TrimPrefix(text, " ")
	}
	name, _ := cutString(text)
	return name, !strings.HasPrefix(text, "{")
}

// cutString parts the quoted string or atom at the beginning of text from the rest.
func cutString(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		if at := strings.IndexByte(text, ' '); at >= 0 {
			return text[:at], text[at:]
		}
		return text, ""
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:]
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String(), ""
}

// Octets that no atom has and that are seen in flags, and what stands for them: octets that
// are in no UTF-8 text.
const (
	unveiled = `]{%*"`
	veiled   = "\xf8\xf9\xfa\xfb\xfc"
)

// veilFlags makes atoms of the flags in a line's FLAGS or PERMANENTFLAGS list.
func veilFlags(line []byte) []byte {
	at := bytes.Index(bytes.ToUpper(line), []byte("FLAGS ("))
	if at < 0 {
		return line
	}
	var out []byte
	for i := at + len("FLAGS ("); i < len(line) && line[i] != ')'; i++ {
		which := strings.IndexByte(unveiled, line[i])
		if which < 0 || (line[i] == '*' && line[i-1] == '\\') {
			continue
		}
		if out == nil {
			out = bytes.Clone(line)
		}
		out[i] = veiled[which]
	}
	if out == nil {
		return line
	}
	return out
}

// unveil gives a flag as the server wrote it.
func unveil(flag string) string {
	octets := []byte(flag)
	for i, c := range octets {
		if which := strings.IndexByte(veiled, c); which >= 0 {
			octets[i] = unveiled[which]
		}
	}
	return string(octets)
}

// Write implements [net.Conn].
func (s *screen) Write(p []byte) (int, error) {
	out := p
	if s.lsub.Load() {
		const asked, said = ` LIST (SUBSCRIBED) "" "*"` + "\r\n", ` LSUB "" "*"` + "\r\n"
		if rest, ok := bytes.CutSuffix(p, []byte(asked)); ok {
			out = append(bytes.Clone(rest), said...)
		}
	}
	if _, err := s.Conn.Write(out); err != nil {
		return 0, s.failed(err)
	}
	return len(p), nil
}
