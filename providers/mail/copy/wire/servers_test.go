package wire_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"testing"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// inbox is a corpus with all messages of another in INBOX.
func inbox(options copytest.CorpusOptions) *copytest.Corpus {
	box := copytest.Mailbox{Path: []string{"INBOX"}}
	for _, other := range copytest.NewCorpus(options).Mailboxes {
		box.Messages = append(box.Messages, other.Messages...)
	}
	return &copytest.Corpus{Mailboxes: []copytest.Mailbox{box}}
}

// sequence gives messages out one after the other, as bytes that come in small pieces.
func sequence(messages []copytest.Message) iter.Seq2[wire.Message, error] {
	return func(yield func(wire.Message, error) bool) {
		for _, m := range messages {
			body := io.MultiReader(bytes.NewReader(m.Body[:len(m.Body)/3]), bytes.NewReader(m.Body[len(m.Body)/3:]))
			if !yield(wire.Message{Size: int64(len(m.Body)), Flags: m.Flags, Date: m.Date, Body: body}, nil) {
				return
			}
		}
	}
}

func endpointOf(server *copytest.Server) wire.Endpoint {
	return wire.Endpoint{Address: server.IMAPS, Config: &tls.Config{RootCAs: server.CA}}
}

func loginOf(user copytest.User) wire.Login {
	return wire.Login{User: user.Name, Secret: secret(user.Password)}
}

func ways() map[string]wire.Way {
	all := map[string]wire.Way{}
	for _, way := range []wire.Way{wire.Together, wire.Pipelined, wire.OneByOne} {
		all[way.String()] = way
	}
	return all
}

// What is appended in any way is there, byte for byte, with flags and dates, under the
// UIDs of the results.
func TestAppendIsExact(t *testing.T) {
	options := copytest.CorpusOptions{Seed: 7, Messages: 60, Odd: true, Large: 1}
	strict := options
	strict.Strict = true
	for _, kind := range []struct {
		name   string
		corpus *copytest.Corpus
		start  func(testing.TB) *copytest.Server
	}{
		{"Dovecot with Maildir", inbox(options), func(t testing.TB) *copytest.Server { return copytest.Dovecot(t, copytest.Maildir, copytest.Options{}) }},
		{"Dovecot with mdbox", inbox(options), func(t testing.TB) *copytest.Server { return copytest.Dovecot(t, copytest.MDBox, copytest.Options{}) }},
		{"Dovecot without LITERAL+", inbox(options), func(t testing.TB) *copytest.Server {
			return copytest.Dovecot(t, copytest.Maildir, copytest.Options{Hide: []string{"LITERAL+"}})
		}},
		{"Dovecot with LITERAL-", inbox(options), func(t testing.TB) *copytest.Server {
			return copytest.Dovecot(t, copytest.Maildir, copytest.Options{Hide: []string{"LITERAL+"}, Show: []string{"LITERAL-"}})
		}},
		{"Cyrus", inbox(strict), func(t testing.TB) *copytest.Server { return copytest.Cyrus(t, copytest.Options{}) }},
		{"Courier", inbox(strict), func(t testing.TB) *copytest.Server { return copytest.Courier(t, copytest.Options{}) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			server := kind.start(t)
			i := 0
			for name, way := range ways() {
				user := server.Users[i]
				i++
				t.Run(name, func(t *testing.T) {
					conn := dial(t, endpointOf(server), loginOf(user))
					appender := conn.Appender("INBOX")
					appender.Way = way
					messages := kind.corpus.Mailboxes[0].Messages
					results, err := appender.Append(deadline(t), sequence(messages))
					if err != nil {
						t.Fatal(err)
					}
					if len(results) != len(messages) {
						t.Fatalf("%d results for %d messages", len(results), len(messages))
					}
					for i, result := range results {
						if result.Err != nil {
							t.Errorf("message %d: %v", i, result.Err)
						}
						if result.UID != uint32(i+1) || result.UIDValidity == 0 {
							t.Errorf("message %d has UID %d, UIDVALIDITY %d; want UID %d", i, result.UID, result.UIDValidity, i+1)
						}
					}
					if err := conn.Logout(deadline(t)); err != nil {
						t.Errorf("logging out: %v", err)
					}
					want, got := kind.corpus.Content(), copytest.Read(t, server, user)
					got.Mailboxes = map[string]map[copytest.Item]int{"INBOX": got.Mailboxes["INBOX"]}
					got.Subscribed = want.Subscribed
					if diff := copytest.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				})
			}
		})
	}
}

func TestRefusalsLeaveTheConnectionUsable(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{Quota: "storage=1M", MaxMessage: 400_000})
	large := copytest.Message{Body: bytes.Repeat([]byte("0123456789\r\n"), 50_000)}
	middle := copytest.Message{Body: bytes.Repeat([]byte("0123456789\r\n"), 25_000)}
	small := copytest.Message{Body: []byte("Subject: x\r\n\r\nx\r\n")}
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, endpointOf(server), loginOf(server.Users[0]))
			append := func(box string, messages ...copytest.Message) []wire.Result {
				t.Helper()
				appender := conn.Appender(box)
				appender.Way = way
				results, err := appender.Append(deadline(t), sequence(messages))
				if err != nil {
					t.Fatal(err)
				}
				return results
			}
			for _, refusal := range []struct {
				box      string
				messages []copytest.Message
				want     string
			}{
				{"Not there", []copytest.Message{small}, "TRYCREATE"},
				{"INBOX", []copytest.Message{large}, "LIMIT"},
				{"INBOX", []copytest.Message{middle, middle, middle, middle}, "OVERQUOTA"},
			} {
				results := append(refusal.box, refusal.messages...)
				last := results[len(results)-1]
				var refused *wire.RefusedError
				if !errors.As(last.Err, &refused) {
					t.Fatalf("%q: the last error is %v, want a refusal", refusal.want, last.Err)
				}
				if refused.Code != refusal.want {
					t.Errorf("code %q, want %q: %v", refused.Code, refusal.want, last.Err)
				}
				if results := append("INBOX", small); results[0].Err != nil {
					t.Fatalf("%q: after it: %v", refusal.want, results[0].Err)
				}
			}
			server.Doveadm(t, "expunge", "-u", server.Users[0].Name, "mailbox", "INBOX", "all")
		})
	}
}

// Under COMPRESS=DEFLATE fewer bytes go than the messages have, and what arrives is the
// same.
func TestCompression(t *testing.T) {
	corpus := inbox(copytest.CorpusOptions{Seed: 3, Messages: 20, Odd: true, Strict: true})
	_, size := corpus.Size()
	for name, start := range map[string]func(testing.TB) *copytest.Server{
		"Dovecot": func(t testing.TB) *copytest.Server {
			return copytest.Dovecot(t, copytest.Maildir, copytest.Options{Config: zlib})
		},
		"Cyrus": func(t testing.TB) *copytest.Server { return copytest.Cyrus(t, copytest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			proxy := copytest.NewProxy(t, server.IMAPS)
			endpoint := endpointOf(server)
			endpoint.Address, endpoint.Compress = proxy.Address, true
			conn := dial(t, endpoint, loginOf(server.Users[0]))
			results, err := conn.Appender("INBOX").Append(deadline(t), sequence(corpus.Mailboxes[0].Messages))
			if err != nil || results[0].Err != nil {
				t.Fatalf("error %v, first result %v", err, results[0])
			}
			if err := conn.Logout(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if sent := proxy.Count(1, copytest.FromClient); sent >= size {
				t.Errorf("%d bytes were sent for messages of %d", sent, size)
			}
			got := copytest.Read(t, server, server.Users[0])
			got.Mailboxes = map[string]map[copytest.Item]int{"INBOX": got.Mailboxes["INBOX"]}
			got.Subscribed = corpus.Content().Subscribed
			if diff := copytest.Diff(corpus.Content(), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// zlib is the configuration with which Dovecot offers compression.
const zlib = "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}\n"
