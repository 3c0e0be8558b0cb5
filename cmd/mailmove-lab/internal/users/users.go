package users

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/record"
)

// Options say how busy the users are.
type Options struct {
	Act      time.Duration // between two actions of one client
	Probe    time.Duration // between two logins of an account's IMAP probe; POP3's are five times as rare
	Duration time.Duration // how long; 0 until stop is closed
}

// patience is how long a client waits for the server before it gives up.
const patience = 60 * time.Second

// Run lets everybody work until the duration is over or stop is closed. What has been begun by then is finished.
func Run(ctx context.Context, l *lab.Lab, options Options, stop <-chan struct{}) error {
	population, err := people.Load(l.Record(people.File))
	if err != nil {
		return err
	}
	actions, err := record.Append[Action](l.Record(ActionsFile))
	if err != nil {
		return err
	}
	defer actions.Close()
	logins, err := record.Append[Login](l.Record(LoginsFile))
	if err != nil {
		return err
	}
	defer logins.Close()
	host, err := l.Host("sender")
	if err != nil {
		return err
	}
	at, err := client.At(host)
	if err != nil {
		return err
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	if options.Duration > 0 {
		working, cancel = context.WithTimeout(working, options.Duration)
		defer cancel()
	}
	go func() {
		select {
		case <-stop:
			cancel()
		case <-working.Done():
		}
	}()
	return everybody(ctx, working, population, func(a people.Account) *user {
		return &user{account: a, names: population.Logins(a), server: lab.MailServer(a.Home), at: at, options: options, actions: actions, logins: logins,
			random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))}
	})
}

// everybody runs the clients and probes of all accounts while working lasts and returns their errors.
func everybody(ctx, working context.Context, population *people.Population, newUser func(people.Account) *user) error {
	var group sync.WaitGroup
	var mutex sync.Mutex
	var errs []error
	start := func(f func(ctx, working context.Context) error) {
		group.Go(func() {
			if err := f(ctx, working); err != nil {
				mutex.Lock()
				defer mutex.Unlock()
				errs = append(errs, err)
			}
		})
	}
	for _, account := range population.Accounts {
		u := newUser(account)
		start(u.probeIMAP)
		start(u.probePOP3)
		if account.Home == "" { // the neighbours only look whether they can still log in
			start(u.desktop)
			start(u.phone)
		}
	}
	group.Wait()
	return errors.Join(errs...)
}

// A user is one person.
type user struct {
	account people.Account
	names   []string // to log in by; the desktop client has the first of them, the phone the last
	server  string
	at      *client.Client
	options Options
	actions *record.Log[Action]
	logins  *record.Log[Login]
	turn    sync.Mutex // one client at a time
	random  *rand.Rand // used in turn only
	drafts  int        // written so far; used in turn only
}

func (u *user) recordLogin(ctx context.Context, by string, began time.Time, cause error) error {
	if ctx.Err() != nil { // cut short by the end of the lab, not by a server
		return nil
	}
	login := Login{Time: began, Account: u.account.Address(), Client: by, Duration: time.Since(began)}
	if cause != nil {
		login.Error = cause.Error()
		login.CutOff = errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, syscall.ECONNRESET)
	}
	return u.logins.Write(login)
}

// every calls f at intervals of about d while working lasts.
func every(working context.Context, d time.Duration, f func() error) error {
	// The first comes after a random part of d, so that not everybody comes at once.
	wait := time.Duration(rand.Int64N(int64(d) + 1))
	for {
		select {
		case <-working.Done():
			return nil
		case <-time.After(wait):
		}
		if err := f(); err != nil {
			return err
		}
		wait = d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
	}
}

func (u *user) probeIMAP(ctx, working context.Context) error {
	return every(working, u.options.Probe, func() error {
		attempt, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		began := time.Now()
		session, err := u.at.IMAP(attempt, u.server, u.account.Address(), u.account.Password, nil)
		if err := u.recordLogin(ctx, "imap probe", began, err); err != nil || session == nil {
			return err
		}
		_ = session.Logout().Wait() // only the login is measured
		session.Close()
		return nil
	})
}

func (u *user) probePOP3(ctx, working context.Context) error {
	return every(working, 5*u.options.Probe, func() error {
		attempt, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		began := time.Now()
		session, err := u.at.POP3(attempt, u.server, u.server, u.account.Address(), u.account.Password)
		if err := u.recordLogin(ctx, "pop3 probe", began, err); err != nil || session == nil {
			return err
		}
		_ = session.Quit() // only the login is measured
		return nil
	})
}

// phone logs in, does one thing and logs out again.
func (u *user) phone(ctx, working context.Context) error {
	return every(working, u.options.Act, func() error {
		u.turn.Lock()
		defer u.turn.Unlock()
		life, cancel := context.WithTimeout(ctx, 2*patience)
		defer cancel()
		began := time.Now()
		session, err := u.at.IMAP(life, u.server, u.names[len(u.names)-1], u.account.Password, nil)
		if err := u.recordLogin(ctx, "phone", began, err); err != nil || session == nil {
			return err
		}
		defer session.Close()
		if err := u.act(session, "phone"); err != nil {
			return err
		}
		_ = session.Logout().Wait() // what was acknowledged before stands
		return nil
	})
}
