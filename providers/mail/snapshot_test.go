package mail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reader answers for accounts with the number of the reading, and notes how many each
// reading took.
type reader struct {
	mu    sync.Mutex
	reads []int
	fail  error
}

func (r *reader) read(list []Address) (map[Address]int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, len(list))
	found := map[Address]int{}
	for _, a := range list {
		found[a] = len(r.reads)
	}
	return found, r.fail
}

// Who asks for one account reads one; who asks for all reads a few times, and every
// account once; several who ask at the same time read no more.
func TestSnapshotReadsAhead(t *testing.T) {
	const accounts = 1000
	var list []Address
	for i := range accounts {
		list = append(list, Address(fmt.Sprintf("user%04d@x", i)))
	}
	known := func() ([]Address, error) { return list, nil }
	for name, test := range map[string]struct {
		asked    []Address
		askers   int
		atMost   int
		readings int
	}{
		"one":                     {list[500:501], 1, 1, 1},
		"some":                    {list[500:520], 1, 21, 3},
		"all":                     {list, 1, accounts, 6},
		"all, from several sides": {list, 8, accounts, 8 + 6},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newSnapshot(time.Now), &reader{}
			var all sync.WaitGroup
			next := make(chan Address)
			for range test.askers {
				all.Go(func() {
					for a := range next {
						if got, err := one(s, "routes", a, known, r.read); got == 0 || err != nil {
							t.Errorf("%s = %d, %v; want an answer", a, got, err)
						}
					}
				})
			}
			for _, a := range test.asked {
				next <- a
			}
			close(next)
			all.Wait()
			total := 0
			for _, n := range r.reads {
				total += n
			}
			if total > test.atMost || total < len(test.asked) || len(r.reads) > test.readings {
				t.Errorf("%d asked: %d read in readings of %v; want at most %d in %d", len(test.asked), total, r.reads, test.atMost, test.readings)
			}
		})
	}
}

func TestSnapshotForgets(t *testing.T) {
	now := time.Now()
	s, r := newSnapshot(func() time.Time { return now }), &reader{}
	known := func() ([]Address, error) { return []Address{"a@x", "b@x", "c@x"}, nil }
	ask := func(a Address, want int) {
		t.Helper()
		if got, err := one(s, "routes", a, known, r.read); got != want || err != nil {
			t.Errorf("%s = %d, %v; want reading %d", a, got, err, want)
		}
	}
	ask("a@x", 1)
	ask("b@x", 2)
	ask("c@x", 2)
	s.touch("b@x")
	ask("b@x", 3) // anew, alone
	ask("c@x", 2)
	s.reset()
	ask("b@x", 4)
	if diff := cmp.Diff([]int{1, 2, 1, 1}, r.reads); diff != "" {
		t.Error(diff)
	}
	s.reset()
	r.fail = errors.New("down")
	for range 3 {
		if _, err := one(s, "routes", "a@x", known, r.read); !errors.Is(err, r.fail) {
			t.Errorf("got %v, want the failure", err)
		}
	}
	if len(r.reads) != 5 {
		t.Errorf("a server that is down was asked %d times, want once", len(r.reads)-4)
	}
	r.fail, now = nil, now.Add(failureAge)
	ask("a@x", 6)
}

func TestSnapshotRemembersFailuresForAMoment(t *testing.T) {
	now := time.Now()
	s := newSnapshot(func() time.Time { return now })
	reads := 0
	fail := errors.New("down")
	ask := func(err error) error {
		_, got := once(s, "accounts", func() (int, error) { reads++; return 0, err })
		return got
	}
	for range 3 {
		if err := ask(fail); !errors.Is(err, fail) {
			t.Fatalf("got %v, want the failure", err)
		}
	}
	if reads != 1 {
		t.Errorf("a server that is down was asked %d times, want once", reads)
	}
	now = now.Add(failureAge)
	if err := ask(nil); err != nil || reads != 2 {
		t.Errorf("later: %v after %d readings, want success after 2", err, reads)
	}
	s.reset()
	reads = 0
	ask(context.Canceled)
	if err := ask(nil); err != nil || reads != 2 {
		t.Errorf("after somebody gave up: %v after %d readings, want success after 2", err, reads)
	}
}
