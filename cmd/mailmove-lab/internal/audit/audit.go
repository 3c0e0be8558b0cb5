// Package audit tells whether a move lost anything. It compares what must be there with what is there, by files and by
// IMAP and POP3, on both servers:
//
//   - every message a server accepted, in as many copies as Postfix makes of it (package people), in the right accounts,
//     whole, and nowhere else
//   - all old mail: content, flags, keywords, dates, UIDs, UIDVALIDITY, POP3 UIDLs, folders, subscriptions and Sieve
//     scripts as they were in the snapshot, but for what users did to it since
//   - every action a server acknowledged to a user, none of them undone
//   - no bounce, nothing left in a queue, no login refused or cut off
//   - nothing removed from the old server, and a neighbour domain as it was
//
// [Snapshot] records what is there before the move; [Run] judges after it. Both read servers that are at rest: traffic and
// users have stopped.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/record"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

// SnapshotFile is the record of what there was before the move.
const SnapshotFile = "snapshot.json"

// Stores are the stores of one server by account. An account the server does not know is not in it.
type Stores map[string]*Store

// Snapshot records what every account has on its server.
func Snapshot(ctx context.Context, l *lab.Lab) error {
	population, err := people.Load(l.Record(people.File))
	if err != nil {
		return err
	}
	before := make(Stores)
	for _, server := range []string{"old", "new"} {
		stores, err := readServer(ctx, l, server, population, "old")
		if err != nil {
			return err
		}
		for _, account := range population.Accounts {
			if homeOf(account, "old") != server {
				continue
			}
			if stores[account.Address()] == nil {
				return fmt.Errorf("taking snapshot: %s has no account %s", server, account.Address())
			}
			before[account.Address()] = stores[account.Address()]
		}
	}
	data, err := json.Marshal(before)
	if err != nil {
		return err
	}
	return os.WriteFile(l.Record(SnapshotFile), data, 0o600)
}

// homeOf returns the server on which an account must be if those that move are at home.
func homeOf(account people.Account, home string) string {
	if account.Home != "" {
		return account.Home
	}
	return home
}

// Run judges the lab. The accounts that move must be on the server called home.
func Run(ctx context.Context, l *lab.Lab, home string) (*Report, error) {
	if home != "old" && home != "new" {
		return nil, fmt.Errorf("home %q: must be old or new", home)
	}
	population, err := people.Load(l.Record(people.File))
	if err != nil {
		return nil, err
	}
	var before Stores
	data, err := os.ReadFile(l.Record(SnapshotFile))
	if err != nil {
		return nil, fmt.Errorf("reading snapshot: %w; take one first with `mailmove-lab audit -snapshot`", err)
	}
	if err := json.Unmarshal(data, &before); err != nil {
		return nil, fmt.Errorf("reading snapshot: %w", err)
	}
	ledger, err := record.Read[traffic.Entry](l.Record(traffic.LedgerFile))
	if err != nil {
		return nil, err
	}
	actions, err := record.Read[users.Action](l.Record(users.ActionsFile))
	if err != nil {
		return nil, err
	}
	logins, err := record.Read[users.Login](l.Record(users.LoginsFile))
	if err != nil {
		return nil, err
	}
	now := make(map[string]Stores)
	for _, server := range []string{"old", "new"} {
		if now[server], err = readServer(ctx, l, server, population, home); err != nil {
			return nil, err
		}
	}
	report := newReport()
	report.judgeStores(population, before, now, home, ledger, actions)
	report.judgeLedger(ledger)
	report.judgeLogins(logins)
	if err := report.judgeHosts(ctx, l); err != nil {
		return nil, err
	}
	return report, nil
}

// readServer reads the stores of all accounts a server knows, and asks POP3 for those that are at home there.
func readServer(ctx context.Context, l *lab.Lab, server string, population *people.Population, home string) (Stores, error) {
	host, err := l.Host(server)
	if err != nil {
		return nil, err
	}
	at, err := client.At(host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	stores := make(Stores)
	var mutex sync.Mutex
	var errs []error
	var group sync.WaitGroup
	limit := make(chan struct{}, 4)
	for _, account := range population.Accounts {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			store, err := readStore(ctx, host, account)
			if err == nil && homeOf(account, home) == server {
				err = store.readPOP3(ctx, at, account)
			}
			mutex.Lock()
			defer mutex.Unlock()
			switch {
			case errors.Is(err, client.ErrNoAccount):
			case err != nil:
				errs = append(errs, fmt.Errorf("reading %s on %s: %w", account.Address(), server, err))
			default:
				stores[account.Address()] = store
			}
		})
	}
	group.Wait()
	return stores, errors.Join(errs...)
}
