// Package copytest is what the copier's tests stand on: real IMAP servers on loopback, a corpus of awkward mail and an
// independent judge of what is there, a proxy that cuts and delays, and a server that lies.
//
//	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
//	ann := server.Users[0]
//	corpus := copytest.NewCorpus(copytest.CorpusOptions{Seed: 1, Messages: 200})
//	copytest.Fill(t, server, ann, corpus)
//	… copy ann to another server …
//	if diff := copytest.Diff(corpus.Content(), copytest.Read(t, other, ann)); diff != "" { t.Error(diff) }
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
// [Server.Stop], [Server.Kill] and [Server.Start] work on the same data and the same ports.
package copytest
