package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

func text(s string) wire.Message {
	return wire.Message{Size: int64(len(s)), Body: strings.NewReader(s)}
}

func list(messages ...wire.Message) iter.Seq2[wire.Message, error] {
	return func(yield func(wire.Message, error) bool) {
		for _, m := range messages {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// outcome is UIDVALIDITY and UID of each result, or what kind of error it has.
func outcome(results []wire.Result) []string {
	var all []string
	for _, r := range results {
		var refused *wire.RefusedError
		var lost *wire.LostError
		switch {
		case r.Err == nil:
			all = append(all, fmt.Sprint(r.UIDValidity, "/", r.UID))
		case errors.As(r.Err, &refused):
			all = append(all, refused.Status+" "+refused.Code)
		case errors.As(r.Err, &lost) && lost.Began:
			all = append(all, "unknown")
		case errors.As(r.Err, &lost):
			all = append(all, "lost")
		default:
			all = append(all, strings.TrimPrefix(fmt.Sprintf("%T", r.Err), "*wire."))
		}
	}
	return all
}

const long = 70_000 // more than is looked at before a message is announced

type conversation struct {
	name     string
	caps     string
	way      wire.Way
	messages []wire.Message
	play     func(*script)
	want     []string
	closed   bool // the connection is, afterwards
}

// Conversations in which messages are appended: what the client says, byte for byte,
// is in the script.
func TestAppendConversations(t *testing.T) {
	date := time.Date(2024, 2, 3, 4, 5, 6, 0, time.FixedZone("", -5*3600-30*60))
	odd := wire.Message{Size: 1, Body: strings.NewReader("x"), Flags: []string{`\Seen`, `\Recent`, "$Forwarded"}, Date: date}
	big := strings.Repeat("x", long)
	for _, test := range []conversation{
		{"together", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{odd, text("two"), text("three")}, func(s *script) {
			s.expect(`M1 APPEND "box" (\Seen $Forwarded) " 3-Feb-2024 04:05:06 -0530" {1+}`)
			s.expect("x {3+}")
			s.expect("two {5+}")
			s.answer("three", "* 3 EXISTS\r\nM1 OK [APPENDUID 7 11:12,9] done\r\n")
		}, []string{"7/11", "7/12", "7/9"}, false},
		{"the server does not say where", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{text("one")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.answer("one", "M1 OK done\r\n")
		}, []string{"0/0"}, false},
		{"UIDs that do not fit", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{text("one"), text("two")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one {3+}")
			s.answer("two", "M1 OK [APPENDUID 7 1:4294967295] done\r\n")
		}, []string{"7/0", "7/0"}, false},
		{"together, synchronising", "MULTIAPPEND", wire.Best, []wire.Message{text("one"), text("two")}, func(s *script) {
			s.answer(`M1 APPEND "box" {3}`, "+ go\r\n")
			s.answer("one {3}", "+\r\n")
			s.answer("two", "M1 OK [APPENDUID 7 1:2] done\r\n")
		}, []string{"7/1", "7/2"}, false},
		{"together, refused in the middle", "MULTIAPPEND", wire.Best, []wire.Message{text("one"), text("two"), text("three")}, func(s *script) {
			s.answer(`M1 APPEND "box" {3}`, "+ go\r\n")
			s.answer("one {3}", "M1 NO [OVERQUOTA] full\r\n")
		}, []string{"NO OVERQUOTA", "NO OVERQUOTA"}, false},
		{"together, refused before the literal, which comes", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{text(big), text("two")}, func(s *script) {
			s.answer(`M1 APPEND "box" {70000+}`, "M1 NO [TRYCREATE] no box\r\n")
			synctest.Wait()
			s.take(long)
			s.expect("")
		}, []string{"NO TRYCREATE"}, false},
		{"together, a message of no bytes", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{text("one"), text(""), text("three")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one {5+}")
			s.expect("three")
			s.expect(`M2 APPEND "box" {0+}`)
			s.answer("", "M1 OK [APPENDUID 7 1:2] done\r\nM2 NO no bytes\r\n")
		}, []string{"7/1", "NO ", "7/2"}, false},
		{"pipelined, refused before the literal, which comes", "LITERAL+", wire.Best, []wire.Message{text(big), text("two")}, func(s *script) {
			s.answer(`M1 APPEND "box" {70000+}`, "M1 NO [TOOBIG] too big\r\n")
			s.take(long)
			s.expect("")
			s.expect(`M2 APPEND "box" {3+}`)
			s.answer("two", "M2 OK [APPENDUID 7 1] done\r\n")
		}, []string{"NO TOOBIG", "7/1"}, false},
		{"pipelined, answered out of order", "LITERAL+", wire.Best, []wire.Message{text("one"), text("two")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one")
			s.expect(`M2 APPEND "box" {3+}`)
			s.answer("two", "M2 OK [APPENDUID 7 1] done\r\n* 5 EXISTS\r\nM1 OK [APPENDUID 8 2] done\r\n")
		}, []string{"8/2", "7/1"}, false},
		{"LITERAL-", "LITERAL-", wire.Best, []wire.Message{text(strings.Repeat("x", 4096)), text(strings.Repeat("x", 4097))}, func(s *script) {
			s.expect(`M1 APPEND "box" {4096+}`)
			s.take(4096)
			s.answer("", "M1 OK done\r\n")
			s.answer(`M2 APPEND "box" {4097}`, "+ go\r\n")
			s.take(4097)
			s.answer("", "M2 OK done\r\n")
		}, []string{"0/0", "0/0"}, false},
		{"one by one, refused instead of told to go ahead", "", wire.Best, []wire.Message{text("one"), text("two")}, func(s *script) {
			s.answer(`M1 APPEND "box" {3}`, "M1 NO [LIMIT] no\r\n")
			s.answer(`M2 APPEND "box" {3}`, "+ go\r\n")
			s.answer("two", "M2 OK [APPENDUID 7 1] done\r\n")
		}, []string{"NO LIMIT", "7/1"}, false},
		{"one by one, over quota", "LITERAL+", wire.OneByOne, []wire.Message{text("one"), text("two")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.answer("one", "M1 NO [OVERQUOTA] full\r\n")
		}, []string{"NO OVERQUOTA"}, false},
		{"APPENDLIMIT", "LITERAL+ APPENDLIMIT=4", wire.Best, []wire.Message{text("four"), text("fives"), text("six")}, func(s *script) {
			s.expect(`M1 APPEND "box" {4+}`)
			s.expect("four")
			s.expect(`M2 APPEND "box" {3+}`)
			s.answer("six", "M1 OK [APPENDUID 7 1] done\r\nM2 OK [APPENDUID 7 2] done\r\n")
		}, []string{"7/1", "NO TOOBIG", "7/2"}, false},
		{"flags and dates that cannot be", "LITERAL+", wire.Best, []wire.Message{
			{Flags: []string{"Foo]"}}, {Flags: []string{`\`}}, {Flags: []string{"a\r\nb"}}, {Size: -1}, {Date: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, text("one"),
		}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.answer("one", "M1 OK [APPENDUID 7 1] done\r\n")
		}, []string{"FormError", "FormError", "FormError", "FormError", "FormError", "7/1"}, false},
		{"NUL with BINARY", "LITERAL+ BINARY", wire.Best, []wire.Message{text("a\x00b")}, func(s *script) {
			s.expect(`M1 APPEND "box" ~{3+}`)
			s.answer("a\x00b", "M1 OK [APPENDUID 7 1] done\r\n")
		}, []string{"7/1"}, false},
		{"NUL without BINARY", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{text("one"), text("a\x00b"), text("two")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one {3+}")
			s.answer("two", "M1 OK [APPENDUID 7 1:2] done\r\n")
		}, []string{"7/1", "NULError", "7/2"}, false},
		{"NUL that comes late", "LITERAL+ BINARY", wire.Best, []wire.Message{text("one"), text(big + "\x00")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one")
			s.expect(`M2 APPEND "box" {70001+}`)
			s.send("M1 OK [APPENDUID 7 1] done\r\n")
			s.drain()
		}, []string{"7/1", "NULError"}, true},
		{"bodies that are not as announced, found early", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{
			{Size: 4, Body: strings.NewReader("one")}, {Size: 2, Body: strings.NewReader("one")}, {Size: 3, Body: iotest.ErrReader(io.ErrClosedPipe)}, text("two"),
		}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.answer("two", "M1 OK [APPENDUID 7 1] done\r\n")
		}, []string{"BodyError", "BodyError", "BodyError", "7/1"}, false},
		{"a body that ends early", "LITERAL+", wire.Best, []wire.Message{text("one"), {Size: long + 1, Body: strings.NewReader(big)}, text("two")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one")
			s.expect(`M2 APPEND "box" {70001+}`)
			s.send("M1 OK [APPENDUID 7 1] done\r\n")
			s.drain()
		}, []string{"7/1", "BodyError"}, true},
		{"a body that is longer", "MULTIAPPEND LITERAL+", wire.Best, []wire.Message{text("one"), {Size: long - 1, Body: strings.NewReader(big)}, text("two")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one {69999+}")
			s.drain()
		}, []string{"lost", "BodyError"}, true},
		{"BYE while a literal comes", "LITERAL+", wire.Best, []wire.Message{text("one"), text("two"), text(big)}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.expect("one")
			s.expect(`M2 APPEND "box" {3+}`)
			s.answer("two", "M1 OK [APPENDUID 7 1] done\r\n")
			s.answer(`M3 APPEND "box" {70000+}`, "* BYE shutting down\r\n")
		}, []string{"7/1", "unknown", "lost"}, true},
		{"an answer to nothing", "LITERAL+", wire.Best, []wire.Message{text("one")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.answer("one", "M2 OK done\r\n")
			s.gone()
		}, []string{"ProtocolError"}, true},
		{"OK to half a command", "", wire.Best, []wire.Message{text("one")}, func(s *script) {
			s.answer(`M1 APPEND "box" {3}`, "M1 OK done\r\n")
			s.gone()
		}, []string{"ProtocolError"}, true},
		{"+ that nothing waits for", "LITERAL+", wire.Best, []wire.Message{text("one")}, func(s *script) {
			s.expect(`M1 APPEND "box" {3+}`)
			s.answer("one", "+ go\r\n")
			s.gone()
		}, []string{"ProtocolError"}, true},
	} {
		for speed, pace := range map[string]func(wire.Endpoint) wire.Endpoint{
			"":               func(e wire.Endpoint) wire.Endpoint { return e },
			", byte by byte": slowly,
		} {
			t.Run(test.name+speed, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { converse(t, test, pace) })
			})
		}
	}
}

func converse(t *testing.T, test conversation, pace func(wire.Endpoint) wire.Endpoint) {
	for _, m := range test.messages { // each run reads the bodies anew
		if s, ok := m.Body.(io.Seeker); ok {
			if _, err := s.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn := dial(t, pace(talk(t, func(s *script) {
		greet(s, test.caps)
		test.play(s)
		if !test.closed {
			if line := s.line(); !strings.HasSuffix(line, " LOGOUT") {
				panic(errScript{fmt.Errorf("the client says %q, want LOGOUT", line)})
			}
		}
	})), nobody)
	appender := conn.Appender("box")
	appender.Way = test.way
	results, err := appender.Append(deadline(t), list(test.messages...))
	if diff := cmp.Diff(test.want, outcome(results)); diff != "" {
		t.Errorf("results (-want +got):\n%s%+v", diff, results)
	}
	if (err != nil) != test.closed || (conn.Err() != nil) != test.closed {
		t.Errorf("error %v, connection's error %v; want the connection closed: %v", err, conn.Err(), test.closed)
	}
	if !test.closed {
		_ = conn.Logout(deadline(t)) // the script sees that both sides agree on where they are
	}
}

func TestChosenWay(t *testing.T) {
	for _, test := range []struct {
		caps        string
		asked, want wire.Way
	}{
		{"MULTIAPPEND LITERAL+", wire.Best, wire.Together},
		{"MULTIAPPEND", wire.Best, wire.Together},
		{"LITERAL+", wire.Best, wire.Pipelined},
		{"LITERAL-", wire.Best, wire.OneByOne},
		{"", wire.Together, wire.OneByOne},
		{"LITERAL+", wire.Together, wire.Pipelined},
		{"MULTIAPPEND LITERAL+", wire.OneByOne, wire.OneByOne},
		{"", wire.Pipelined, wire.Pipelined},
	} {
		appender := dial(t, talk(t, func(s *script) { greet(s, test.caps) }), nobody).Appender("box")
		appender.Way = test.asked
		if got := appender.Chosen(); got != test.want {
			t.Errorf("with %q, asked for %v: %v, want %v", test.caps, test.asked, got, test.want)
		}
	}
}

// A mailbox whose name cannot be quoted goes as a literal.
func TestAppendToAMailboxWithALineEnd(t *testing.T) {
	conn := dial(t, talk(t, func(s *script) {
		greet(s, "")
		s.answer("M1 APPEND {3}", "+ go\r\n")
		s.answer("a\tb {3}", "+ go\r\n")
		s.answer("one", "M1 OK [APPENDUID 7 1] done\r\n")
	}), nobody)
	results, err := conn.Appender("a\tb").Append(deadline(t), list(text("one")))
	if err != nil || results[0].UID != 1 {
		t.Errorf("results %v, error %v", results, err)
	}
}

// What came before an error of the sequence is appended.
func TestAppendUntilTheSequenceFails(t *testing.T) {
	conn := dial(t, talk(t, func(s *script) {
		greet(s, "MULTIAPPEND LITERAL+")
		s.expect(`M1 APPEND "box" {3+}`)
		s.answer("one", "M1 OK [APPENDUID 7 1] done\r\n")
	}), nobody)
	broken := errors.New("the other server is gone")
	results, err := conn.Appender("box").Append(deadline(t), func(yield func(wire.Message, error) bool) {
		_ = yield(text("one"), nil) && yield(wire.Message{}, broken)
	})
	if !errors.Is(err, broken) || conn.Err() != nil {
		t.Errorf("error %v, connection's %v; want the first to be %q", err, conn.Err(), broken)
	}
	if diff := cmp.Diff([]wire.Result{{UIDValidity: 7, UID: 1}}, results, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

// No more APPENDs are unanswered than the window has.
func TestAppendWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		conn := dial(t, talk(t, func(s *script) {
			greet(s, "LITERAL+")
			for i := range 3 {
				s.expect(fmt.Sprintf(`M%d APPEND "box" {1+}`, i+1))
				s.expect("x")
			}
			synctest.Wait()
			if taken != 3 {
				t.Errorf("%d messages are taken while 3 are unanswered, want 3", taken)
			}
			s.send("M1 OK\r\n")
			s.expect(`M4 APPEND "box" {1+}`)
			s.answer("x", "M2 OK\r\nM3 OK\r\nM4 OK\r\n")
		}), nobody)
		appender := conn.Appender("box")
		appender.Window = 3
		results, err := appender.Append(t.Context(), func(yield func(wire.Message, error) bool) {
			for taken < 4 {
				taken++
				if !yield(text("x"), nil) {
					return
				}
			}
		})
		if err != nil || len(results) != 4 {
			t.Errorf("%d results, error %v", len(results), err)
		}
	})
}

// A server that takes nothing, or answers nothing, does not hold us up, and a slow source
// is not taken for a silent server.
func TestAppendSilence(t *testing.T) {
	big := strings.Repeat("x", long)
	for _, test := range []struct {
		name string
		body io.Reader
		play func(*script)
		want []string
	}{
		{"takes nothing", strings.NewReader(big), func(s *script) { s.line(); time.Sleep(time.Hour) }, []string{"lost"}},
		{"answers nothing", strings.NewReader(big), func(s *script) { s.line(); s.take(long); s.line(); time.Sleep(time.Hour) }, []string{"unknown"}},
		{"a slow source", &slowReader{r: strings.NewReader(big), pause: 20 * time.Minute}, func(s *script) {
			s.line()
			s.take(long)
			s.answer("", "M1 OK [APPENDUID 1 1] done\r\n")
		}, []string{"1/1"}},
		{"a slow server", strings.NewReader(big), func(s *script) {
			s.line()
			for range 7 { // what is written at once is 16 KiB
				s.take(10_000)
				time.Sleep(45 * time.Second)
			}
			s.answer("", "M1 OK [APPENDUID 1 1] done\r\n")
		}, []string{"1/1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := dialIn(t, talk(t, func(s *script) {
					greet(s, "LITERAL+")
					test.play(s)
				}))
				results, _ := conn.Appender("box").Append(t.Context(), list(wire.Message{Size: long, Body: test.body}))
				if diff := cmp.Diff(test.want, outcome(results)); diff != "" {
					t.Errorf("results (-want +got):\n%s%v", diff, results[0].Err)
				}
				if results[0].Err != nil {
					as[*wire.SilenceError](t, results[0].Err)
				}
			})
		})
	}
}

// dialIn is dial in a bubble, where time passes as nothing else does.
func dialIn(t testing.TB, endpoint wire.Endpoint) *wire.Conn {
	t.Helper()
	conn, err := wire.Dial(t.Context(), endpoint, nobody)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

type slowReader struct {
	r     io.Reader
	pause time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(r.pause)
	return r.r.Read(p)
}

// The end of the context ends an Append at once, wherever it is.
func TestAppendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dialIn(t, talk(t, func(s *script) {
			greet(s, "LITERAL+")
			s.line()
			s.line()
			s.gone()
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		results, err := conn.Appender("box").Append(ctx, list(text("one")))
		if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(outcome(results), []string{"unknown"}) {
			t.Errorf("results %v, error %v", outcome(results), err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want a second", took)
		}
	})
}
