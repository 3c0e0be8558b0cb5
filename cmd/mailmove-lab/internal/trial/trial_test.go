package trial_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/audit"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/labtest"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/seed"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/trial"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// still is a migration that moves nothing.
type still struct{ failure error }

var _ trial.Migration = still{}

func (s still) Forward(context.Context, *lab.Lab) error { return s.failure }
func (s still) Back(context.Context, *lab.Lab) error    { return nil }
func (s still) Finish(context.Context, *lab.Lab) error  { return nil }

func options(t *testing.T) trial.Options {
	return trial.Options{
		Lab: labtest.Options(), Seed: seed.Options{Accounts: 3, Messages: 40, Seed: 1},
		Traffic: traffic.Options{RateNormal: 4, RateStale: 2, RateUsers: 1, Life: time.Minute},
		Users:   users.Options{Act: 500 * time.Millisecond, Probe: time.Second},
		Before:  time.Second, Between: time.Second, After: time.Second, Log: t.Output(),
	}
}

func TestNothingMoved(t *testing.T) {
	labtest.NeedRoot(t)
	tests := []struct {
		name     string
		rollback bool // then everything must be where it was
		missing  int
	}{{"and it is demanded of the old server", true, 0}, {"and it is demanded of the new server", false, 3}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			o.Rollback = tt.rollback
			result, err := trial.Run(t.Context(), "trialtest", still{}, o)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Report.Count(audit.AccountMissing); got != tt.missing || len(result.Report.Faults) != tt.missing {
				t.Errorf("got %d missing accounts among %v, want %d and nothing else", got, result.Report.Faults, tt.missing)
			}
			if result.Report.Messages == 0 || result.Report.Logins == 0 {
				t.Errorf("got %d messages and %d logins: nobody was at work", result.Report.Messages, result.Report.Logins)
			}
			if _, err := lab.Open("trialtest"); err == nil {
				t.Error("the lab is still up after the trial")
			}
		})
	}
}

func TestMigrationFails(t *testing.T) {
	labtest.NeedRoot(t)
	failure := errors.New("the disk is full")
	_, err := trial.Run(t.Context(), "trialtest", still{failure}, options(t))
	if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "moving: ") {
		t.Errorf("got %v, want moving: %v", err, failure)
	}
	if _, err := lab.Open("trialtest"); err == nil {
		t.Error("the lab is still up after the trial")
	}
}
