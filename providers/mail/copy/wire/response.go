package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	// maxLine bounds a line of a server.
	maxLine = 64 << 10
	// maxAnswer bounds all that a server says before it answers a command.
	maxAnswer = 1 << 20
)

// A response is what a server said in one breath (RFC 9051 section 7).
type response struct {
	// tag is "*", "+", or the tag of the command that is answered.
	tag string
	// kind is the upper-case word after the tag: OK, NO, BAD, BYE, PREAUTH, or the name
	// of data (CAPABILITY, ENABLED, ID, …; the number, where a number comes first).
	kind string
	// code and argument are the response code in brackets, "" if there is none.
	code, argument string
	// text is what is for people, or follows "+".
	text string
	// data is what follows the name of data, literals included as they came.
	data []byte
}

// A malformedError says what of a server's words breaks the grammar.
type malformedError struct{ what string }

func (e *malformedError) Error() string { return e.what }

func malformed(format string, args ...any) error {
	return &malformedError{what: fmt.Sprintf(format, args...)}
}

// readResponse reads one response of at most limit bytes, and returns how many it had.
// r needs a buffer of maxLine. An error is a *malformedError or the reader's.
func readResponse(r *bufio.Reader, limit int) (response, int, error) {
	line, err := readLine(r)
	size := len(line) + 2
	if err != nil {
		return response{}, size, err
	}
	resp, err := parseResponse(line)
	if err != nil || resp.tag != "*" || resp.status() {
		// The text of a status is for people and may end as a literal's announcement does.
		return resp, size, err
	}
	for {
		announced, ok := literalSize(line)
		if !ok {
			return resp, size, nil
		}
		if announced > int64(limit-size) {
			return resp, size, malformed("a literal of %d bytes in an answer that may have %d", announced, limit)
		}
		literal := make([]byte, announced)
		if _, err := io.ReadFull(r, literal); err != nil {
			return resp, size, unexpected(err)
		}
		if line, err = readLine(r); err != nil {
			return resp, size, err
		}
		size += len(literal) + len(line) + 2
		resp.data = append(resp.data, "\r\n"...)
		resp.data = append(resp.data, literal...)
		resp.data = append(resp.data, line...)
	}
}

// readLine returns a line without its end. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, malformed("a line of more than %d bytes", maxLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, malformed("a line with a NUL byte: %s", line)
	}
	return line, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseResponse takes a line apart, or the first line of a response with literals.
func parseResponse(line []byte) (response, error) {
	tag, rest, _ := strings.Cut(string(line), " ")
	resp := response{tag: tag}
	if tag == "+" {
		resp.text = rest
		return resp, nil
	}
	word, rest, _ := strings.Cut(rest, " ")
	if !isTag(tag) || word == "" {
		return resp, malformed("what is no response: %s", line)
	}
	resp.kind = strings.ToUpper(word)
	if !resp.status() {
		if tag != "*" {
			return resp, malformed("an answer that is none of OK, NO and BAD: %s", line)
		}
		resp.data = []byte(rest)
		return resp, nil
	}
	if tag != "*" && resp.kind != "OK" && resp.kind != "NO" && resp.kind != "BAD" {
		return resp, malformed("an answer that is none of OK, NO and BAD: %s", line)
	}
	resp.code, resp.argument, resp.text = cutCode(rest)
	return resp, nil
}

// status reports whether the response is OK, NO, BAD, BYE or PREAUTH.
func (r *response) status() bool {
	switch r.kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// cutCode takes "[CODE argument] text" apart. What has no closing bracket is text.
func cutCode(s string) (code, argument, text string) {
	inside, ok := strings.CutPrefix(s, "[")
	if !ok {
		return "", "", s
	}
	inside, text, ok = strings.Cut(inside, "]")
	if !ok {
		return "", "", s
	}
	code, argument, _ = strings.Cut(inside, " ")
	return strings.ToUpper(code), argument, strings.TrimPrefix(text, " ")
}

// isTag reports whether s is "*" or can be a tag of ours.
func isTag(s string) bool {
	if s == "*" {
		return true
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

// literalSize returns the size of the literal that a line announces at its end
// (RFC 9051 section 4.3; "~{" is RFC 3516's).
func literalSize(line []byte) (int64, bool) {
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false
	}
	digits := line[open+1 : len(line)-1]
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}
