package wire_test

import (
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// BenchmarkAppend writes small messages (26 kB on average) into a Dovecot whose mail is in
// memory, in batches of 100, in each way; the same over a network with a round trip of
// 40 ms. The unit to look at is messages/s, and of that the ratios.
func BenchmarkAppend(b *testing.B) {
	server := copytest.Dovecot(b, copytest.Maildir, copytest.Options{Memory: true})
	messages := inbox(copytest.CorpusOptions{Seed: 1, Messages: 100, Bytes: 2_600_000}).Mailboxes[0].Messages
	far := copytest.NewProxy(b, server.IMAP)
	far.Delay(20 * time.Millisecond)
	for _, network := range []struct {
		name     string
		endpoint wire.Endpoint
	}{
		{"near", wire.Endpoint{Address: server.IMAP, TLS: wire.Plain}},
		{"near, TLS", endpointOf(server)},
		{"40ms", wire.Endpoint{Address: far.Address, TLS: wire.Plain}},
	} {
		for name, way := range ways() {
			b.Run(network.name+"/"+name, func(b *testing.B) {
				conn := dial(b, network.endpoint, loginOf(server.Users[0]))
				appender := conn.Appender("INBOX")
				appender.Way = way
				for b.Loop() {
					if _, err := appender.Append(b.Context(), sequence(messages)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*len(messages))/b.Elapsed().Seconds(), "messages/s")
				server.Doveadm(b, "expunge", "-u", server.Users[0].Name, "mailbox", "INBOX", "all")
			})
		}
	}
}
