// Package traffic is the outside world that goes on writing while a domain moves, and the domain's own users who write to
// each other.
//
// An outside sender finds the domain's mail servers by its own resolver for every attempt, takes them in order, and tries
// again as long as a message lives: when no server answers, when one answers 4xx, and, because it cannot know better, when the
// connection breaks before the last answer (RFC 5321 section 4.5.3.2.6 is why a message may then rightly be there
// twice). A 5xx is final. Users submit by name, port 587 and password, and try again in the same way.
//
// Everything is kept in a ledger, so that the audit can tell what must have arrived: a line before the last dot, and a
// line when the answer is known.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/record"
)

// LedgerFile is the record of the ledger.
const LedgerFile = "traffic.jsonl"

// An Outcome is what became of one recipient in one attempt.
type Outcome string

// The outcomes. Unknown stands before the answer is there, and remains if it never comes.
const (
	Accepted Outcome = "accepted"
	Deferred Outcome = "deferred"
	Refused  Outcome = "refused"
	Unknown  Outcome = "unknown"
)

// An Entry is a line of the ledger. Of several with the same marker, attempt and recipient the last counts.
type Entry struct {
	Time      time.Time
	From      string // host that sends, or the user who submits
	Server    string // address of the server
	Marker    string // of the message
	Attempt   int    // what one attempt delivers is one transaction
	Recipient string
	Outcome   Outcome
	Reply     string `json:",omitempty"`
}

// Options say how much is sent.
type Options struct {
	RateNormal float64       // messages a second from sender
	RateStale  float64       // messages a second from stale
	RateUsers  float64       // messages a second from users to each other
	Duration   time.Duration // how long; 0 until stop is closed
	Life       time.Duration // how long after that a sender goes on trying
}

// Run sends until the duration is over or stop is closed, and then waits until every message is accepted or refused. It
// is an error if one still is neither when its life is over.
func Run(ctx context.Context, l *lab.Lab, options Options, stop <-chan struct{}) error {
	population, err := people.Load(l.Record(people.File))
	if err != nil {
		return err
	}
	ledger, err := record.Append[Entry](l.Record(LedgerFile))
	if err != nil {
		return err
	}
	defer ledger.Close()
	var sources []*source
	for _, s := range []struct {
		name, host string
		rate       float64
		users      bool
	}{{"sender", "sender", options.RateNormal, false}, {"stale", "stale", options.RateStale, false}, {"users", "sender", options.RateUsers, true}} {
		if s.rate <= 0 {
			continue
		}
		host, err := l.Host(s.host)
		if err != nil {
			return err
		}
		at, err := client.At(host)
		if err != nil {
			return err
		}
		// The first answer is the one that stale will stay with.
		if _, err := at.Exchangers(ctx, population.Domain); err != nil {
			return err
		}
		sources = append(sources, &source{name: s.name, rate: s.rate, users: s.users, at: at, population: population, ledger: ledger})
	}
	until, cancel := context.WithCancel(ctx)
	defer cancel()
	if options.Duration > 0 {
		until, cancel = context.WithTimeout(until, options.Duration)
		defer cancel()
	}
	errs := make([]error, len(sources))
	var group sync.WaitGroup
	for i, s := range sources {
		group.Go(func() { errs[i] = s.run(ctx, until, stop, options.Life) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// A source sends messages at a steady rate.
type source struct {
	name       string
	rate       float64
	users      bool
	at         *client.Client
	population *people.Population
	ledger     *record.Log[Entry]
	unsent     atomic.Int64
	failure    atomic.Pointer[error] // of the ledger
}

func (s *source) run(ctx, until context.Context, stop <-chan struct{}, life time.Duration) error {
	// Messages may live on after the last was written, but not for ever.
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	ticker := time.NewTicker(time.Duration(float64(time.Second) / s.rate))
	defer ticker.Stop()
	var group sync.WaitGroup
	for number := 0; ; number++ {
		message := newMessage(random, s, fmt.Sprintf("%s.%s.%06d", s.name, run, number))
		s.unsent.Add(1)
		group.Go(func() { s.send(sending, message) })
		select {
		case <-ticker.C:
			continue
		case <-until.Done():
		case <-stop:
		}
		break
	}
	timer := time.AfterFunc(life, cancel)
	defer timer.Stop()
	group.Wait()
	if failure := s.failure.Load(); failure != nil {
		return *failure
	}
	if n := s.unsent.Load(); n > 0 {
		return fmt.Errorf("sending from %s: %d messages were neither accepted nor refused in their life", s.name, n)
	}
	return nil
}

// send tries until every recipient is accepted or refused.
func (s *source) send(ctx context.Context, m *message) {
	for attempt := 1; ; attempt++ {
		remaining, err := s.attempt(ctx, m, attempt)
		if err != nil {
			s.failure.CompareAndSwap(nil, &err)
			return
		}
		if len(remaining) == 0 {
			s.unsent.Add(-1)
			return
		}
		m.recipients = remaining
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second + time.Duration(min(attempt, 10))*500*time.Millisecond):
		}
	}
}
