package mail

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestSnapshotReadsOnce(t *testing.T) {
	now := time.Now()
	s := newSnapshot(func() time.Time { return now })
	known := []Address{"a@x", "b@x", "c@x"}
	var mu sync.Mutex
	var reads [][]Address
	ask := func(a Address) (int, error) {
		return one(s, "routes", a, known, func(list []Address) (map[Address]int, error) {
			mu.Lock()
			defer mu.Unlock()
			reads = append(reads, list)
			found := map[Address]int{}
			for _, a := range list {
				found[a] = len(reads)
			}
			return found, nil
		})
	}
	var all sync.WaitGroup
	for _, a := range known {
		all.Go(func() {
			if got, err := ask(a); got != 1 || err != nil {
				t.Errorf("%s = %d, %v; want the first reading", a, got, err)
			}
		})
	}
	all.Wait()
	if len(reads) != 1 || len(reads[0]) != 3 {
		t.Fatalf("read %v, want all three at once", reads)
	}
	s.touch("b@x")
	if got, _ := ask("b@x"); got != 2 || len(reads[1]) != 1 {
		t.Errorf("after a change: b@x = %d by %v, want a reading of its own", got, reads)
	}
	if got, _ := ask("a@x"); got != 1 {
		t.Errorf("after a change of another account: a@x = %d, want the first reading", got)
	}
	s.reset()
	if got, _ := ask("b@x"); got != 3 || len(reads[2]) != 3 {
		t.Errorf("after a reset: b@x = %d by %v, want all anew", got, reads)
	}
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
