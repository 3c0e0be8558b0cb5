package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadResponse(t *testing.T) {
	for _, test := range []struct {
		in   string
		want response
	}{
		{"* OK hello\r\n", response{tag: "*", kind: "OK", text: "hello"}},
		{"* ok [Capability IMAP4rev1 X] hi\n", response{tag: "*", kind: "OK", code: "CAPABILITY", argument: "IMAP4rev1 X", text: "hi"}},
		{"M1 NO [OVERQUOTA]\r\n", response{tag: "M1", kind: "NO", code: "OVERQUOTA"}},
		{"M1 NO [unfinished\r\n", response{tag: "M1", kind: "NO", text: "[unfinished"}},
		{"M1 OK\r\n", response{tag: "M1", kind: "OK"}},
		{"* OK the end {5}\r\n", response{tag: "*", kind: "OK", text: "the end {5}"}},
		{"+\r\n", response{tag: "+"}},
		{"+ go {5}\r\n", response{tag: "+", text: "go {5}"}},
		{"* 3 EXISTS\r\n", response{tag: "*", kind: "3", data: []byte("EXISTS")}},
		{"* ID (\"a\" {3}\r\nb\r\n \"c\" ~{2}\r\n\r\n)\r\n", response{tag: "*", kind: "ID", data: []byte("(\"a\" {3}\r\nb\r\n \"c\" ~{2}\r\n\r\n)")}},
		{"* X {0}\r\n\r\n", response{tag: "*", kind: "X", data: []byte("{0}\r\n")}},
	} {
		for _, reader := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader} {
			got, size, err := readResponse(bufio.NewReaderSize(reader(strings.NewReader(test.in)), maxLine), maxAnswer)
			if err != nil {
				t.Errorf("%q: %v", test.in, err)
				continue
			}
			if len(got.data) == 0 {
				got.data = nil
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(response{})); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.in, diff)
			}
			if size < len(test.in) {
				t.Errorf("%q counts for %d bytes, want at least %d", test.in, size, len(test.in))
			}
		}
	}
}

func TestReadResponseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "EOF",
		"* OK hal":                  "unexpected EOF",
		"* ID {3}\r\nab":            "unexpected EOF",
		"* ID {3}\r\nabc":           "EOF",
		"* ID {1048577}\r\n":        "a literal of 1048577 bytes in an answer that may have 1048576",
		"M1\r\n":                    "what is no response: M1",
		"a-b OK\r\n":                "what is no response: a-b OK",
		"M1 FETCH\r\n":              "an answer that is none of OK, NO and BAD: M1 FETCH",
		strings.Repeat("x", 70_000): "a line of more than 65536 bytes",
	} {
		_, _, err := readResponse(bufio.NewReaderSize(strings.NewReader(in), maxLine), maxAnswer)
		if err == nil || err.Error() != want {
			t.Errorf("%.40q: error %v, want %q", in, err, want)
		}
	}
}

func TestAppendUID(t *testing.T) {
	for _, test := range []struct {
		argument string
		n        int
		validity uint32
		want     []uint32
	}{
		{"7 11", 1, 7, []uint32{11}},
		{"7 1:3,5", 4, 7, []uint32{1, 2, 3, 5}},
		{"7 5,1:3", 4, 7, []uint32{5, 1, 2, 3}},
		{"7 3:3", 1, 7, []uint32{3}},
		{"4294967295 4294967294:4294967295", 2, 4294967295, []uint32{4294967294, 4294967295}},
		{"7 1:3", 2, 7, nil},
		{"7 1", 2, 7, nil},
		{"7 3:1", 3, 7, nil},
		{"7 1,1", 2, 7, nil},
		{"7 1:2,2", 3, 7, nil},
		{"7 0", 1, 7, nil},
		{"7 *", 1, 7, nil},
		{"7 1:*", 2, 7, nil},
		{"7 +1", 1, 7, nil},
		{"7 1:4294967295", 3, 7, nil},
		{"7 4294967296", 1, 7, nil},
		{"7 ", 1, 7, nil},
		{"7", 1, 0, nil},
		{"0 1", 1, 0, nil},
		{"", 1, 0, nil},
	} {
		validity, uids := appendUID(test.argument, test.n)
		want := test.want
		if want == nil {
			want = make([]uint32, test.n)
		}
		if validity != test.validity || !slices.Equal(uids, want) {
			t.Errorf("APPENDUID %s for %d: %d, %v; want %d, %v", test.argument, test.n, validity, uids, test.validity, want)
		}
	}
}

func TestAttributes(t *testing.T) {
	for _, test := range []struct {
		flags []string
		date  time.Time
		want  string
	}{
		{nil, time.Time{}, ""},
		{[]string{`\recent`}, time.Time{}, ""},
		{[]string{`\Seen`, `\Recent`, "$Label1", "a+b"}, time.Time{}, ` (\Seen $Label1 a+b)`},
		{nil, time.Date(1990, 12, 31, 23, 59, 60, 0, time.UTC), ` " 1-Jan-1991 00:00:00 +0000"`},
		{nil, time.Date(2038, 1, 19, 3, 14, 8, 999, time.FixedZone("", 14*3600)), ` "19-Jan-2038 03:14:08 +1400"`},
		{nil, time.Date(1900, 1, 1, 0, 0, 0, 0, time.FixedZone("LMT", 53*60+28)), ` "31-Dec-1899 23:06:32 +0000"`},
	} {
		got, err := Message{Flags: test.flags, Date: test.date}.attributes()
		if err != nil || got != test.want {
			t.Errorf("flags %q, date %v: %q, error %v; want %q", test.flags, test.date, got, err, test.want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		" a\r\nb\x1b[2J ":                  "a  b [2J",
		"Käse \u202e!":                     "Käse  !",
		"\xff":                             "\ufffd",
		"a" + strings.Repeat("ä", 300):     "a" + strings.Repeat("ä", 299) + " …",
		strings.Repeat("\u200b", 10) + "x": "x",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) is %q, want %q", in, got, want)
		}
	}
}

// What a server sends never makes the parser do more than it may: it takes no more than
// it counts, and its answers are within their grammar.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{"* OK [CAPABILITY A B] hi\r\n", "* ID (\"a\" {3}\r\nabc)\r\n", "M1 NO [X y] z\r\n", "+ go\r\n", "* X {99999999999}\r\n", "* 1 FETCH (BODY[] ~{0}\r\n)\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		source := bytes.NewReader(data)
		r := bufio.NewReaderSize(source, maxLine)
		taken := 0
		for {
			resp, size, err := readResponse(r, 1000)
			if err != nil {
				var broken *malformedError
				if !errors.As(err, &broken) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("error %T: %v", err, err)
				}
				return
			}
			taken += size
			if consumed := len(data) - source.Len() - r.Buffered(); consumed > taken {
				t.Fatalf("%d bytes consumed, %d counted", consumed, taken)
			}
			if size > 1000+maxLine || len(resp.data) > 1000+maxLine {
				t.Fatalf("a response of %d bytes, data of %d", size, len(resp.data))
			}
			parseCaps(resp.argument)
			parseID(string(resp.data))
			for _, n := range []int{0, 1, 5} {
				if _, uids := appendUID(resp.argument, n); len(uids) != n {
					t.Fatalf("%d UIDs for %d messages", len(uids), n)
				}
			}
		}
	})
}

// A server that says anything at all, and then hangs up, ends Dial and Append, and no
// error has the secret.
func FuzzServer(f *testing.F) {
	const in = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LITERAL+ MULTIAPPEND ID] hi\r\nM1 OK in\r\nM2 OK\r\nM3 OK\r\n"
	for _, seed := range []string{in, in + "M4 OK [APPENDUID 1 1:2] x\r\n", in + "+ go\r\nM4 NO [X] sesame\r\n", "* BYE sesame\r\n", "* OK [CAPABILITY AUTH=LOGIN] x\r\n+ x\r\n+ y\r\nM1 NO\r\n", "* PREAUTH [CAPABILITY X]\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		endpoint := Endpoint{Address: "a:1", TLS: Plain, Dialer: func(context.Context) (net.Conn, error) { return &recorded{r: bytes.NewReader(data)}, nil }}
		secret := func(context.Context) ([]byte, error) { return []byte("sesame"), nil }
		c, err := Dial(context.Background(), endpoint, Login{User: "murphy", Secret: secret})
		if err == nil {
			defer c.Close()
			_, err = c.Appender("box").Append(context.Background(), func(yield func(Message, error) bool) {
				_ = yield(Message{Size: 3, Body: strings.NewReader("one")}, nil) && yield(Message{Size: 3, Body: strings.NewReader("two")}, nil)
			})
		}
		if err == nil && !strings.Contains(string(data), "M4 ") && !strings.Contains(string(data), "M3 ") {
			t.Error("no error, but the server answered nothing")
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the secret is in the error: %v", err)
		}
	})
}

// recorded is a connection whose other side says what it has to say, whatever it hears.
type recorded struct {
	net.Conn
	r io.Reader
}

func (c *recorded) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *recorded) Write(p []byte) (int, error) { return len(p), nil }
func (c *recorded) Close() error                { return nil }

// What comes while the connection is being closed is for nobody.
func TestHearAfterTheEnd(t *testing.T) {
	c := newConn("a:1", &recorded{r: strings.NewReader("")}, time.Minute)
	_ = c.lose(io.EOF)
	for _, resp := range []response{{tag: "*", kind: "OK"}, {tag: "+"}, {tag: "M1", kind: "OK"}} {
		if more, err := c.hear(resp, 1); more || err != nil {
			t.Errorf("%v: more is %v, error %v", resp, more, err)
		}
	}
}

// However large a message is, it costs the same memory.
func TestAppendTakesBoundedMemory(t *testing.T) {
	small, large := allocated(t, 1<<20), allocated(t, 256<<20)
	if large > small+1<<20 {
		t.Errorf("a message of 256 MiB takes %d bytes of memory, one of 1 MiB %d", large, small)
	}
}

// allocated returns how much memory was asked for to append a message.
func allocated(t *testing.T, size int64) uint64 {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		r := bufio.NewReader(server)
		_, _ = io.WriteString(server, "* PREAUTH [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n")
		_, _ = r.ReadString('\n')
		_, _ = io.CopyN(io.Discard, r, size)
		_, _ = io.WriteString(server, "M1 OK\r\n")
		_, _ = io.Copy(io.Discard, r)
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	endpoint := Endpoint{Address: "a:1", TLS: Plain, Dialer: func(context.Context) (net.Conn, error) { return client, nil }}
	c, err := Dial(t.Context(), endpoint, Login{Mechanism: None})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := io.LimitReader(letters{}, size)
	results, err := c.Appender("box").Append(t.Context(), func(yield func(Message, error) bool) {
		yield(Message{Size: size, Body: body}, nil)
	})
	if err != nil || results[0].Err != nil {
		t.Fatalf("results %v, error %v", results, err)
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// letters never ends.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
