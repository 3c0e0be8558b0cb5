package postfix_dovecot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers/mail"
)

const domain = "example.com"

// prepared is a bench as after the first phase of a move: both servers claimed and
// trusting each other, the accounts on both, at home on the old one.
func prepared(t *testing.T, accounts, messages int, flags ...string) (*bench, []mail.Account) {
	b := newBench(t, accounts, messages, flags...)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.old.Claim(ctx, "claim-old"))
	must(b.new.Claim(ctx, "claim-new"))
	list, err := b.old.Accounts(ctx, domain)
	must(err)
	if len(list) == 0 {
		t.Fatal("the old server lists no account")
	}
	b.password(b.old, list, passwordHash)
	b.transfer(list)
	must(b.old.PutTrust(ctx, "trust", mail.Trust{Peer: b.new.Endpoint().Address, Domain: domain}, true))
	must(b.new.PutTrust(ctx, "trust", mail.Trust{Peer: b.old.Endpoint().Address, Domain: domain}, true))
	must(b.away(ctx, b.new, b.old, list))
	return b, list
}

// transfer makes the domain, its accounts and aliases on the new server.
func (b *bench) transfer(list []mail.Account) {
	b.t.Helper()
	ctx := b.t.Context()
	var names []mail.Address
	for _, a := range list {
		names = append(names, a.Address)
	}
	hashes, err := b.old.Credentials(ctx, names)
	if err != nil || len(hashes) != len(names) {
		b.t.Fatalf("got %d credentials of %d accounts, %v", len(hashes), len(names), err)
	}
	var edits []mail.AccountEdit
	for _, a := range list {
		edits = append(edits, mail.AccountEdit{Account: a, Credential: hashes[a.Address]})
	}
	if err := b.new.PutAccounts(ctx, "accounts", edits); err != nil {
		b.t.Fatal(err)
	}
	aliases, err := b.old.Aliases(ctx, domain)
	if err != nil {
		b.t.Fatal(err)
	}
	there, err := b.new.Aliases(ctx, domain)
	if err != nil {
		b.t.Fatal(err)
	}
	before := map[mail.Address][]mail.Address{}
	for _, a := range there {
		before[a.Address] = a.Members
	}
	var puts []mail.AliasEdit
	for _, a := range aliases {
		puts = append(puts, mail.AliasEdit{Address: a.Address, Expect: before[a.Address], Members: a.Members})
	}
	if err := b.new.PutAliases(ctx, "aliases", puts); err != nil {
		b.t.Fatal(err)
	}
	if err := b.new.PutDomain(ctx, "domain", domain, true); err != nil {
		b.t.Fatal(err)
	}
}

// away makes accounts relayed and proxied from s to peer.
func (b *bench) away(ctx context.Context, s, peer *System, list []mail.Account) error {
	routes, logins := map[mail.Address]mail.Route{}, map[mail.Address]mail.Login{}
	for _, a := range list {
		routes[a.Address] = mail.Route{Mode: mail.Relay, Peer: peer.Endpoint()}
		logins[a.Address] = mail.Login{Mode: mail.Proxied, Peer: peer.Endpoint()}
	}
	if err := s.SetLogins(ctx, "away", logins); err != nil {
		return err
	}
	return s.SetRoutes(ctx, "away", routes)
}

// login tries to log in over IMAP from the sender's host, and prints what came of it.
const loginProgram = `
import imaplib, ssl, sys, time
server, user, password = sys.argv[1:4]
context = ssl._create_unverified_context()
began = time.time()
try:
    c = imaplib.IMAP4_SSL(server, 993, ssl_context=context, timeout=120)
    c.login(user, password)
    c.select("INBOX")
    found = c.status("INBOX", "(MESSAGES)")[1][0].decode()
    print("in", found, "after %.1f" % (time.time() - began))
    c.logout()
except Exception as e:
    print("refused", e)
`

func (b *bench) login(server, user string) string {
	b.t.Helper()
	return b.loginAs(server, user, password)
}

func (b *bench) loginAs(server, user, password string) string {
	b.t.Helper()
	return strings.TrimSpace(b.exec("op", "python3 -c '"+loginProgram+"' "+server+" "+user+" '"+password+"'"))
}

func TestAccountsOfOneServerOnAnother(t *testing.T) {
	t.Parallel()
	b, list := prepared(t, 3, 3)
	ctx := t.Context()
	got, err := b.new.Accounts(ctx, domain)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, list) {
		t.Errorf("accounts of the new server are %v, want %v", got, list)
	}
	want, err := b.old.Aliases(ctx, domain)
	if err != nil {
		t.Fatal(err)
	}
	aliases, err := b.new.Aliases(ctx, domain)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(aliases) != fmt.Sprint(want) {
		t.Errorf("aliases of the new server are %v, want %v", aliases, want)
	}
	if neighbours, err := b.new.Accounts(ctx, "other.example"); err != nil || len(neighbours) != 1 {
		t.Errorf("the neighbour's accounts are %v, %v", neighbours, err)
	}
	// A message for an account that is away reaches its home, a group each of its
	// members once, a plus-address its account.
	b.send("198.51.100.20", "a@sender.example", "murphy@"+domain, "to-away")
	b.send("198.51.100.20", "a@sender.example", "all@"+domain, "to-group")
	b.eventually("mail for accounts that are away is at home", func() bool {
		return b.stored("old", "murphy@"+domain, "to-away") == 1 && b.stored("old", "murphy@"+domain, "to-group") == 1 &&
			b.stored("old", "office@"+domain, "to-group") == 1
	})
	if n := b.stored("new", "murphy@"+domain, "to-away"); n != 0 {
		t.Errorf("the server that is not the home stored %d messages", n)
	}
	routes, err := b.new.Routes(ctx, slices.Collect(maps.Keys(map[mail.Address]bool{list[0].Address: true})))
	if err != nil || routes[list[0].Address].Mode != mail.Relay || routes[list[0].Address].Peer.Address != "198.51.100.10" {
		t.Errorf("the route is %v, %v", routes, err)
	}
}
