// Package mail is the kind "mail": its resource types, written once over the
// abilities that a platform has (platform.go).
//
// # Homes
//
// The idea on which everything stands: every account has a home, the one server
// whose store is the truth. Any other server that knows the account relays its
// mail and proxies its logins to the home. So it does not matter which server a
// sender or a user finds.
//
// A server that is away keeps what its peer hands over, so that no two servers
// can pass a message to and fro. A server that was the home and has decided a
// handoff has left: it hands over everything and keeps nothing that comes from the
// peer (which it passes on or puts off), so that nothing reaches the store that has
// just been left, whatever the peer has been told by then.
//
// A handoff (mail_handoff) moves the home of one account in a few seconds. The
// server it leads to is away from before the first step until after the last; the
// server it leads from alone decides it, by one renamed marker. Before that
// decision nobody can reach the store on the other server, and after it everybody
// does, by way of the server that decided, even if mailmove is gone.
//
// # Files
//
//	schema.go, types.go    the resource types and how a platform serves them
//	claim.go … trust.go    one type each; handoff.go, batch.go, move.go, homes.go are mail_handoff
//	platform.go            what a platform offers; every ability is an interface
//	snapshot.go            what observations of one walk share
//	lint.go                dangers of a plan
//
// # Platforms
//
// A platform is a folder beside this file. Its System embeds [*Types] and
// implements what it can of platform.go; its Provider returns [Schema] and [Lint].
// Package mailtest is the suite that it passes.
package mail
