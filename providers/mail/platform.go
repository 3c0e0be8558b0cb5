package mail

import (
	"context"
	"time"

	"github.com/mailmove/mailmove/providers"
)

// This file holds what the resource types ask of a platform. Each ability is an
// interface of its own: a platform implements what it can, and the plan sees what
// it cannot.
//
// Common to all methods: a set of things to make so is given whole and is made
// so in one edit; doing it again changes nothing; an interruption at any instant
// leaves the state before or after, never one between; op identifies the change
// and is the same when it is repeated. An error means that the outcome is
// unknown unless it wraps an [OutcomeError].

// A Server is what a platform's System is for the resource types.
type Server interface {
	providers.System
	// Platform is the provider's type, such as "postfix_dovecot".
	Platform() string
	// Endpoint is where the peer and the world reach the server.
	Endpoint() Endpoint
}

// An Endpoint is where a mail server is reached.
type Endpoint struct {
	// Address is the IP address that the server has for its peer.
	Address string
	// Name is the name in its TLS certificates; "" means that none can be verified.
	Name string
	// SMTP, IMAP, POP3, Submission are ports; 0 means the service's standard port.
	SMTP, IMAP, POP3, Submission int
	// Relay is the port at which the server takes mail from its peer; 0 means SMTP.
	Relay int
}

// An OutcomeError tells what is known of an effect that failed.
type OutcomeError struct {
	Outcome providers.Outcome
	Err     error
}

func (e *OutcomeError) Error() string { return e.Err.Error() }
func (e *OutcomeError) Unwrap() error { return e.Err }

// A Claimer keeps mailmove's place on a server: the hooks that the other
// abilities write to (maps of our own in main.cf, a passdb of our own), installed
// once, and removed at the end.
type Claimer interface {
	// Claimed reports whether the hooks are in place and in force.
	Claimed(ctx context.Context) (bool, error)
	// Claim installs the hooks without disturbing deliveries or sessions. It
	// refuses a server whose software or layout it does not know, with a hint.
	Claim(ctx context.Context, op string) error
	// Unclaim removes the hooks; the administrator's files are as they were. It
	// refuses while a route, login or trust is still in force.
	Unclaim(ctx context.Context, op string) error
}

// Account is one person's store and login.
type Account struct {
	Address Address
	// Quota is the limit in bytes; 0 is none.
	Quota int64
}

// A Credential is a password hash as a server keeps it. It never leaves the
// process but to the peer, and prints as nothing.
type Credential struct{ hash string }

// NewCredential holds a hash.
func NewCredential(hash string) Credential { return Credential{hash: hash} }

// Reveal returns the hash, for the one place that writes it to a server.
func (c Credential) Reveal() string { return c.hash }

// IsZero reports whether there is none.
func (c Credential) IsZero() bool     { return c.hash == "" }
func (c Credential) String() string   { return "(hash)" }
func (c Credential) GoString() string { return "(hash)" }

// MarshalText keeps the hash out of every encoding.
func (c Credential) MarshalText() ([]byte, error) { return []byte("(hash)"), nil }

// AccountStore holds accounts.
type AccountStore interface {
	// Accounts returns every account of the domain, in address order.
	Accounts(ctx context.Context, domain string) ([]Account, error)
	// Credentials returns the hashes of those of the accounts that exist.
	Credentials(ctx context.Context, accounts []Address) (map[Address]Credential, error)
	// PutAccounts creates the accounts or makes them as given. A zero credential
	// leaves the hash of an existing account alone.
	PutAccounts(ctx context.Context, op string, accounts []AccountEdit) error
}

// AccountEdit is an account as it shall be.
type AccountEdit struct {
	Account
	Credential Credential
}

// Alias is RFC 5321 section 3.9.1's: the envelope address is replaced.
type Alias struct {
	// Address is what is replaced; "@domain" is the catch-all, or with one member
	// "@other" an alias domain.
	Address Address
	// Members are addresses, sorted. What a server has beyond addresses (pipes,
	// files, includes) is in Code.
	Members []Address
	// Code are members that execute or read something; they are never copied.
	Code []string
}

// AliasStore holds aliases.
type AliasStore interface {
	// Aliases returns every alias of the domain, in address order. An identity
	// entry that only protects a mailbox from a catch-all is not an alias.
	Aliases(ctx context.Context, domain string) ([]Alias, error)
	// PutAliases makes the aliases as given. An alias that is not what Expect says,
	// just now, stops the edit with a [*ConflictError].
	PutAliases(ctx context.Context, op string, aliases []AliasEdit) error
}

// AliasEdit is an alias as it shall be.
type AliasEdit struct {
	Address Address
	// Expect and Members are sorted; nil means that there is none.
	Expect, Members []Address
}

// A ConflictError says that an object was changed by somebody else between
// observation and edit. Nothing was changed.
type ConflictError struct{ Object, Expected, Found string }

func (e *ConflictError) Error() string {
	return "changing " + e.Object + ": it is " + e.Found + ", not " + e.Expected + " as planned"
}

// Hint implements [providers.Error].
func (e *ConflictError) Hint() string {
	return "Somebody changed it since the plan was made. Run mailmove plan again and review the difference."
}

// Temporary implements [providers.Error].
func (e *ConflictError) Temporary() bool { return false }

// DomainStore holds the domains that a server accepts mail for.
type DomainStore interface {
	// Accepts reports whether mail to mailboxes of the domain is accepted.
	Accepts(ctx context.Context, domain string) (bool, error)
	PutDomain(ctx context.Context, op, domain string, accept bool) error
}

// Trust says that mail for a domain is taken from a peer past filters, limits and
// greylisting, and is delivered here whatever the routes say: what a peer hands
// over is never handed back, so no two servers can pass a message to and fro.
// Logins that the peer proxies are served here for the same reason.
type Trust struct {
	// Peer is an IP address.
	Peer   string
	Domain string
}

// TrustStore holds trusts.
type TrustStore interface {
	Trusts(ctx context.Context) ([]Trust, error)
	PutTrust(ctx context.Context, op string, trust Trust, on bool) error
}

// RouteMode is what happens to mail for an address.
type RouteMode string

const (
	// Local: delivered into the mailbox here.
	Local RouteMode = "local"
	// Hold: accepted, and queued until the route changes, also what a trusted peer
	// hands over.
	Hold RouteMode = "hold"
	// Relay: passed on to the peer, envelope and content unchanged.
	Relay RouteMode = "relay"
	// Tee: delivered here, and a copy passed to Route.To.
	Tee RouteMode = "tee"
	// Changing is only observed: the route was changed, and mail may still go by the
	// one before, since the change was interrupted or is under way.
	Changing RouteMode = "changing"
)

// Route is the delivery of one address, plus-addresses of it included.
type Route struct {
	Mode RouteMode
	Peer Endpoint // of Relay
	To   Address  // of Tee
	// Left, of Relay, says that the account's home was here and has been handed
	// over: also what the peer hands over is relayed. Only a [Sentry] makes it so.
	Left bool
}

// Router holds routes.
type Router interface {
	// Routes returns the routes in force; an address without a route of ours is Local,
	// one of which that is not known yet is Changing.
	Routes(ctx context.Context, addresses []Address) (map[Address]Route, error)
	// SetRoutes makes the routes so and returns when they are in force: after Hold
	// no delivery is under way or can begin, neither into the mailbox nor to a peer;
	// after Relay none into the mailbox but of what a trusted peer hands over; after
	// any change what was held goes on by the new route.
	SetRoutes(ctx context.Context, op string, routes map[Address]Route) error
}

// LoginMode is what happens to logins of an account.
type LoginMode string

const (
	// Open: served here.
	Open LoginMode = "open"
	// Closed: refused; mail is still accepted.
	Closed LoginMode = "closed"
	// Parked: the password is checked, and a right one waits until the mode
	// changes and is then served by the new mode. Nobody is in.
	Parked LoginMode = "parked"
	// Proxied: the password is checked here and the session goes to the peer.
	Proxied LoginMode = "proxied"
)

// Login is the mode of one account: IMAP, POP3, ManageSieve. Submission goes on
// here in every mode but Closed.
type Login struct {
	Mode LoginMode
	Peer Endpoint // of Proxied
	// Left, of Proxied, is [Route.Left] for logins.
	Left bool
}

// Doorkeeper holds logins.
type Doorkeeper interface {
	// Logins returns the modes in force; an account without one of ours is Open.
	Logins(ctx context.Context, accounts []Address) (map[Address]Login, error)
	// SetLogins makes the modes so and returns when they are in force: after any
	// mode but Open no session of the account is served here.
	SetLogins(ctx context.Context, op string, logins map[Address]Login) error
}

// A Visitor looks from its server at the doors of a peer that trusts it.
type Visitor interface {
	// Visit returns an error that says which door of the peer is shut to this server,
	// or does not know it: its relay port, or the ports for proxied logins. Nothing is
	// sent.
	Visit(ctx context.Context, peer Endpoint, domain string) error
}

// A Sentry ends a handoff on the server itself when mailmove cannot. It is armed
// before the first step. From then on exactly one of two things happens, decided
// under one lock on the server, whatever fails: Commit in time, after which the
// server by itself makes the account relayed and proxied to the peer; or the
// deadline, after which the account is local and open again. It survives a reboot.
type Sentry interface {
	// Arm begins a handoff. Arming the same op again moves the deadline, or, if it
	// has expired, begins anew; an op that is committed stays so. An account has one
	// handoff at a time: an undecided one of another op expires thereby, and the
	// account's route and login stay as they are; one of another op that is committed
	// and not completed is completed, and Arm fails with NotApplied, as it does where
	// the account's mail is relayed: its home is not here.
	Arm(ctx context.Context, op string, account Address, peer Endpoint, within time.Duration) error
	// Commit decides the handoff. Nil means that it is decided for the peer, now or
	// by an earlier call. [ErrExpired] means that the deadline came first.
	Commit(ctx context.Context, op string) error
	// Handoff returns the state of op.
	Handoff(ctx context.Context, op string) (HandoffState, error)
	// Disarm ends op: after commit it completes what is left to do for the peer,
	// if it is armed it makes the account local and open again, otherwise it does
	// nothing. It returns when that is in force.
	Disarm(ctx context.Context, op string) error
}

// HandoffState is how far a handoff has come on the server it leads away from.
type HandoffState string

const (
	// NeverArmed: the server knows nothing of it.
	NeverArmed HandoffState = "never armed"
	// Armed: not decided.
	Armed HandoffState = "armed"
	// Committed: decided for the peer.
	Committed HandoffState = "committed"
	// Expired: the deadline came first, or it was disarmed.
	Expired HandoffState = "expired"
)

// ErrExpired is returned by Commit when the deadline came first.
var ErrExpired = providers.Faultf(
	"The account is served by its old home again; nothing is lost. Run mailmove apply again, with a longer handoff timeout if the account is large.",
	"committing the handoff: the dead-man's timer came first")

// Method is a way of copying a store.
type Method string

const (
	// Dsync is Dovecot's replication, one way.
	Dsync Method = "dsync"
	// Rsync copies files of stores with the same layout.
	Rsync Method = "rsync"
	// Native is a platform's own way.
	Native Method = "native"
)

// Copier copies accounts to a peer. It has no method that removes anything from
// the server it copies from.
type Copier interface {
	// Methods returns the methods by which accounts can be copied to peer, best
	// first; none is an error that says why.
	Methods(ctx context.Context, peer Server) ([]Method, error)
	// Copy makes the peer's store of the account equal to this server's: every
	// folder, message, flag, keyword, date, UID, subscription and script. While the
	// account is in use here, what changes meanwhile may be left for the next pass.
	// The peer's store must be out of use; what it has that this one has not is removed there.
	Copy(ctx context.Context, job CopyJob, log providers.Log) (Pass, error)
	// Compare compares the stores of the accounts here and on the peer without
	// trusting any record of what was copied. Of an account that the peer does not
	// have everything is missing there.
	Compare(ctx context.Context, peer Server, accounts []Address, depth Depth) (map[Address]Comparison, error)
}

// CopyJob is one pass over one account.
type CopyJob struct {
	Op      string
	Account Address
	Peer    Server
	Method  Method
	// Aside keeps what the peer's store was before the first pass of Op, on the
	// peer, so that nothing is lost that only it had.
	Aside bool
}

// Pass is what a pass did.
type Pass struct {
	Messages, Bytes int64 // that the account has
	Changed         int64 // messages that had to be carried
}

// Depth of a comparison.
type Depth string

const (
	// Listing compares names, sizes, flags, dates and UIDs.
	Listing Depth = "listing"
	// Content compares every message's bytes as well.
	Content Depth = "content"
)

// Comparison is the difference between two stores of an account.
type Comparison struct {
	Messages, Bytes int64 // here
	// Missing, Extra and Differing count messages, folders and scripts that the
	// peer lacks, has too many of, or has otherwise.
	Missing, Extra, Differing int64
	// Examples names up to ten of them.
	Examples []string
}

// Behind is how many things differ.
func (c Comparison) Behind() int64 { return c.Missing + c.Extra + c.Differing }

// Straggler is a host that delivered mail for a domain here although its home is
// elsewhere.
type Straggler struct {
	Host     string
	Last     time.Time
	Messages int64
}

// StragglerLog knows who delivered mail here.
type StragglerLog interface {
	// Stragglers returns who delivered mail for the domain since then, the peer and
	// the server itself left out.
	Stragglers(ctx context.Context, domain string, since time.Time) ([]Straggler, error)
}
