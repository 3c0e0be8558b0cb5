// Package copytest is what the copier's tests stand on: real IMAP servers on loopback, a corpus of awkward mail and an
// independent judge of what is there, a proxy that cuts and delays, and a server that lies.
//
//	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
//	ann := server.Users[0]
//	corpus := copytest.NewCorpus(copytest.CorpusOptions{Seed: 1, Messages: 200, Odd: true})
//	copytest.Fill(t, server, ann, corpus)
//	… copy ann to another server …
//	if diff := copytest.Diff(corpus.Content(), copytest.Read(t, other, ann)); diff != "" {
//		t.Error(diff)
//	}
//
// # Servers
//
// [Dovecot], [Cyrus] and [Courier] start the daemons of Debian's packages. Nothing is installed: the packages and all
// that they depend on are unpacked, once, into a directory tree below [CacheDir], which is all that changes on the
// machine. A server has that tree for its root by an overlay, in mount and process namespaces of its own; the network
// is the machine's, and the server listens on 127.0.0.1 at ports of its own. Its mail is in a directory of the test,
// or in memory if [Options.Memory] says so. Its processes end with the test, also if the test program is killed.
//
// That takes root, and once apt's sources. Where either is missing the test is skipped, and says what is left out.
//
// Each server has users with passwords, and a certificate of an authority of its own, which [Server.TLS] trusts.
// [Server.Stop], [Server.Kill], [Server.Start] and [Server.Reconfigure] work on the same data and the same ports. Its
// log is shown if the test fails.
//
// What is asked of a server is in [Options]; what they say and do not say of themselves is changed by [Options.Hide]
// and [Options.Show], so that a Dovecot without MULTIAPPEND is one line.
//
// A [Tool] runs other programs of Debian's packages in the same way, such as copiers to compare with.
//
// # Corpus and judge
//
// [NewCorpus] makes the same mail from the same options. Those of a benchmark are:
//
//	CorpusOptions{Messages: 5_000, Bytes: 91 << 20, Large: 2} // a person's 131 MB, with two messages of 20 MB
//	CorpusOptions{Messages: 50_000}                           // many small ones in a few mailboxes
//	CorpusOptions{Messages: 100_000, OneBox: true}            // one enormous mailbox
//
// [CorpusOptions.Odd] adds what copiers stumble over. Each server takes and keeps something else of that;
// [CorpusOptions.Strict] leaves out what not all of them do, and [CorpusOptions.Lossy] adds what Dovecot keeps in its
// files but not in APPEND.
//
// [Fill] puts a corpus into an account, [Read] reads an account as every client can, message by message, and [Diff] says
// how two contents differ: as multisets of messages, by the SHA-256 of their octets, size, flags and INTERNALDATE.
// None of this shares code with the copier.
//
// # Faults
//
// A [Proxy] passes octets on, counts them, and loses, ends, stalls or delays connections: "the second connection is lost
// after 4711 octets from the server" is
//
//	proxy := copytest.NewProxy(t, server.IMAP)
//	proxy.Cut(2, copytest.FromServer, 4711)
//
// A [Liar] changes what a server says, response by response: [Tell] puts it before a real server's port without TLS,
// [Hostile] before one in memory that needs no root. Each [Lie] is one way to deceive:
//
//	liar := copytest.Hostile(t, corpus, copytest.GiantLiteral(4<<30), copytest.Times(1, copytest.NilBody()))
package copytest
