// Package mail is the kind "mail": its resource types, written once over the
// abilities that a platform has (platform.go).
//
// The idea on which everything stands: every account has a home, the one server
// whose store is the truth. Any other server that knows the account relays its
// mail and proxies its logins to the home, except that what the home itself hands
// over is kept. So it does not matter which server a sender or a user finds, and
// what a peer hands over is never handed back, whatever both servers are set to.
// A handoff (mail_handoff) moves the home of one account in a few seconds; only
// the server it leads away from decides it, by one renamed marker, and before
// that decision nobody can reach the store on the other server.
package mail
