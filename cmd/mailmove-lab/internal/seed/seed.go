// Package seed fills a lab: it makes the accounts and aliases on the old server, and gives every account a store such as
// real ones are, with what has broken mail moves before.
//
//   - folders: nested, with names in other scripts, with "&", with more keywords than a Maildir file name can hold, empty
//   - messages: a 20 MB one, byte-identical twins in one folder and in two, without Message-ID, several with the same
//     Message-ID, 8-bit headers in two character sets, lines of 20,000 characters, empty, without a last line end
//   - all system flags and many keywords, dates over ten years, gaps in the UIDs
//   - subscriptions, one of them to a folder that is gone; Sieve scripts, one active; POP3 clients that know their UIDLs
//   - one account over its quota, but with system users
//
// Everything comes by the servers' own protocols, so that UID lists, keyword tables and indexes are Dovecot's own work. The
// same number gives the same stores.
package seed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"

	"github.com/GehirnInc/crypt/sha512_crypt"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
)

// Options say how much there is to be.
type Options struct {
	Accounts int    // that move
	Messages int    // in each
	Seed     uint64 // for what is left to chance
}

// Run fills the lab.
func Run(ctx context.Context, l *lab.Lab, options Options) error {
	if options.Accounts < 1 || options.Messages < 0 {
		return errors.New("seeding needs one account or more")
	}
	var systems []string
	for _, name := range []string{"old", "new"} {
		if l.Options.SystemUsers(name) {
			systems = append(systems, lab.Address(name).String())
		}
	}
	population := people.New(lab.MovingDomain, lab.NeighbourDomain, options.Accounts, options.Seed, systems...)
	population.ShortLogins = l.Options.SystemUsers("old")
	for _, name := range []string{"old", "new"} {
		host, err := l.Host(name)
		if err != nil {
			return err
		}
		setUp := setUpAccounts
		if l.Options.SystemUsers(name) {
			setUp = setUpSystemUsers
		}
		if err := setUp(ctx, host, population); err != nil {
			return fmt.Errorf("making accounts on %s: %w", name, err)
		}
	}
	// From here on the lab knows who is there, even if filling stops half-way.
	if err := population.Save(l.Record(people.File)); err != nil {
		return err
	}
	return fill(ctx, l, population, options)
}

// fill gives every account its mail, a few at a time.
func fill(ctx context.Context, l *lab.Lab, population *people.Population, options Options) error {
	operator, err := l.Host("op")
	if err != nil {
		return err
	}
	at, err := client.At(operator)
	if err != nil {
		return err
	}
	limit := make(chan struct{}, 4)
	errs := make([]error, len(population.Accounts))
	var group sync.WaitGroup
	for i, account := range population.Accounts {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			host, err := l.Host(homeOf(account))
			if err != nil {
				errs[i] = err
				return
			}
			w := &writer{host: host, account: account, number: i, random: rand.New(rand.NewPCG(options.Seed, uint64(i)+100))}
			if err := w.fill(ctx, at, options.Messages); err != nil {
				errs[i] = fmt.Errorf("filling %s: %w", account.Address(), err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return limitFull(ctx, l, population)
}

func homeOf(a people.Account) string {
	if a.Home != "" {
		return a.Home
	}
	return "old"
}

// setUpAccounts writes the accounts and aliases that host has before the move, as an administrator would.
func setUpAccounts(ctx context.Context, host *machine.Host, population *people.Population) error {
	var users, mailboxes, aliases strings.Builder
	for _, account := range population.Accounts {
		if homeOf(account) != host.Name {
			continue
		}
		hash, err := sha512_crypt.New().Generate([]byte(account.Password), nil)
		if err != nil {
			return fmt.Errorf("hashing password: %w", err)
		}
		extra := ""
		if account.Quota > 0 {
			extra = fmt.Sprintf("userdb_quota_rule=*:bytes=%d", account.Quota)
		}
		fmt.Fprintf(&users, "%s:{SHA512-CRYPT}%s::::::%s\n", account.Address(), hash, extra)
		fmt.Fprintf(&mailboxes, "%s  ok\n", account.Address())
		if account.Domain == population.Domain { // the catch-all would hide it
			fmt.Fprintf(&aliases, "%s  %[1]s\n", account.Address())
		}
	}
	if host.Name == "old" {
		for _, alias := range population.Aliases {
			fmt.Fprintf(&aliases, "%s  %s\n", alias.Address, strings.Join(alias.Members, ", "))
		}
	}
	for _, file := range []struct{ path, text string }{
		{"/etc/dovecot/users", users.String()},
		{"/etc/postfix/virtual_mailboxes", "# address  anything\n" + mailboxes.String()},
		{"/etc/postfix/virtual_aliases", "# address  addresses\n" + aliases.String()},
	} {
		path, err := host.Path(file.path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.text), 0o644); err != nil { // keeps owner and mode of what is there
			return err
		}
	}
	_, err := host.Run(ctx, nil, "postmap", "hash:/etc/postfix/virtual_mailboxes", "hash:/etc/postfix/virtual_aliases")
	return err
}

// setUpSystemUsers is setUpAccounts of a server whose users are those of the system.
func setUpSystemUsers(ctx context.Context, host *machine.Host, population *people.Population) error {
	var users, aliases strings.Builder
	for _, account := range population.Accounts {
		if homeOf(account) != host.Name {
			continue
		}
		if account.Quota > 0 {
			return fmt.Errorf("account %s: a system user has no limit of its own", account.Address())
		}
		hash, err := sha512_crypt.New().Generate([]byte(account.Password), nil)
		if err != nil {
			return fmt.Errorf("hashing password: %w", err)
		}
		if _, err := host.Run(ctx, nil, "useradd", "--create-home", "--shell", "/usr/sbin/nologin", account.Local); err != nil {
			return err
		}
		fmt.Fprintf(&users, "%s:%s\n", account.Local, hash)
	}
	if _, err := host.Run(ctx, strings.NewReader(users.String()), "chpasswd", "-e"); err != nil {
		return err
	}
	if host.Name != "old" {
		return nil
	}
	for _, alias := range population.Aliases {
		local, _, _ := strings.Cut(alias.Address, "@")
		var members []string
		for _, member := range alias.Members {
			members = append(members, strings.TrimSuffix(member, "@"+population.Domain))
		}
		fmt.Fprintf(&aliases, "%s: %s\n", local, strings.Join(members, ", "))
	}
	path, err := host.Path("/etc/aliases")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte("# See aliases(5).\n"+aliases.String()), 0o644); err != nil {
		return err
	}
	_, err = host.Run(ctx, nil, "newaliases")
	return err
}

// limitFull sets the quota of the full account below what it holds.
func limitFull(ctx context.Context, l *lab.Lab, population *people.Population) error {
	host, err := l.Host("old")
	if err != nil {
		return err
	}
	for _, account := range population.Accounts {
		if !account.Full {
			continue
		}
		path, err := host.Path("/etc/dovecot/users")
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, account.Address()+":") {
				lines[i] = line + "userdb_quota_rule=*:bytes=10000"
			}
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			return err
		}
		if _, err := host.Run(ctx, nil, "doveadm", "quota", "recalc", "-u", account.Address()); err != nil {
			return err
		}
	}
	return nil
}
