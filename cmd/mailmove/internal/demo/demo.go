// Package demo is what "mailmove demo" moves: a domain with two mail servers and a
// zone, all in this process and on loopback, with mail pouring in and users at
// work. It does not move anything itself: the command plans and applies the
// configuration in [Demo.Dir] as it would any other.
//
//	d, err := demo.Start(ctx, demo.Options{Accounts: 6})  // old server full, senders and users busy
//	…                                                     // mailmove plan and apply in d.Dir()
//	err = d.Rest(ctx)                                      // senders and users stop, queues run empty
//	report, err := d.Audit(ctx)                            // what came of every message and every action
//	err = d.Close()
//
// Words. A marker names one message that was sent during the demonstration. A pair
// is a marker and a final address: what SMTP promised to put into one mailbox, once.
// The ledger holds what servers said to senders, the diary what they said to users.
//
// Files: world.go (servers, zone, configuration), people.go (who is there and what
// an address stands for), seed.go (the old mail), resolver.go (DNS as senders see
// it), traffic.go (senders), users.go and act.go (users), store.go (what an account
// holds, read by IMAP), expect.go (what it must hold), judge.go (the comparison),
// report.go (the table).
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/providers/mail"
)

// Options of a demonstration.
type Options struct {
	// Accounts is how many accounts move.
	Accounts int
	// Keep leaves configuration, state and what else is in [Demo.Dir] when the
	// demonstration is closed.
	Keep bool
}

// A Demo is a domain that is alive.
type Demo struct {
	options Options
	dir     string
	begun   time.Time
	world   *world
	before  map[mail.Address]*store

	ledger  ledger
	diary   diary
	cancel  context.CancelFunc // ends everything at once
	stop    context.CancelFunc // lets senders and users finish what they have begun
	working sync.WaitGroup
}

// Start makes the domain and lets senders and users begin. Everything ends with ctx.
func Start(ctx context.Context, options Options) (*Demo, error) {
	if options.Accounts < 1 {
		return nil, fmt.Errorf("starting the demonstration: %d accounts are too few", options.Accounts)
	}
	dir, err := os.MkdirTemp("", "mailmove-demo-")
	if err != nil {
		return nil, fmt.Errorf("starting the demonstration: %w", err)
	}
	d := &Demo{options: options, dir: dir, begun: time.Now(), before: map[mail.Address]*store{}}
	ctx, d.cancel = context.WithCancel(ctx)
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the demonstration: %w", err), d.Close())
	}
	return d, nil
}

func (d *Demo) start(ctx context.Context) error {
	w, err := newWorld(newPeople(d.options.Accounts))
	if err != nil {
		return err
	}
	d.world = w
	if err := w.write(d.dir); err != nil {
		return err
	}
	if err := w.seed(ctx); err != nil {
		return err
	}
	if d.before, err = readStores(ctx, w.old.IMAPAddr(), w.people); err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	d.stop = stop
	senders, err := newSenders(ctx, w, &d.ledger)
	if err != nil {
		return err
	}
	for _, s := range senders {
		d.working.Go(func() { s.run(ctx, working) })
	}
	for i, account := range w.people.accounts {
		newUser(w, account, uint64(i), &d.diary).run(ctx, working, &d.working)
	}
	return nil
}

// Dir is the folder with the configuration.
func (d *Demo) Dir() string { return d.dir }

// Accounts returns the addresses of the accounts that move.
func (d *Demo) Accounts() []string {
	var list []string
	for _, a := range d.world.people.accounts {
		list = append(list, string(a.address))
	}
	return list
}

// Login opens an IMAP session at the new server for one of the accounts.
func (d *Demo) Login(ctx context.Context, address string) (*imapclient.Client, error) {
	for _, a := range d.world.people.accounts {
		if string(a.address) == address {
			s, err := login(ctx, d.world.new.IMAPAddr(), a)
			if err != nil {
				return nil, err
			}
			return s.Client, nil
		}
	}
	return nil, fmt.Errorf("logging in as %s: no such account moves", address)
}

// settleTime bounds how long senders may go on trying and queues may hold mail.
const settleTime = time.Minute

// Rest lets senders and users finish, and waits until nothing is in a queue any
// more. What is not at rest in a minute is for the audit to report.
func (d *Demo) Rest(ctx context.Context) error {
	d.stop()
	limit, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	finished := make(chan struct{})
	go func() { d.working.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-limit.Done():
		d.cancel() // nobody tries any longer
		<-finished
	}
	for d.world.old.Queued()+d.world.new.Queued() > 0 && limit.Err() == nil {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit.Done():
		}
	}
	return ctx.Err()
}

// Audit reads both servers and compares them with what senders and users were told.
// The demonstration must be at rest.
func (d *Demo) Audit(ctx context.Context) (*Report, error) { return d.audit(ctx, d.world.new) }

// Close ends everything and removes the folder.
func (d *Demo) Close() error {
	d.cancel()
	d.working.Wait()
	var errs []error
	if d.world != nil {
		errs = append(errs, d.world.close())
	}
	remove := d.dir
	if d.options.Keep { // what remains opens nothing any more, but secrets are not left lying about
		remove = secretsDir(d.dir)
	}
	return errors.Join(append(errs, os.RemoveAll(remove))...)
}
