package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/audit"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/labtest"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/record"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/seed"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// user is the account in which faults are planted; Trash and Entwürfe are folders that no user touches.
const user = "murphy@example.com"

// TestPlantedFaults lets senders and users work without any move, sees that the audit finds nothing wrong, and then that
// it finds and names each fault that is planted.
func TestPlantedFaults(t *testing.T) {
	l := labtest.Up(t, "audittest", labtest.Options())
	ctx := t.Context()
	if err := seed.Run(ctx, l, seed.Options{Accounts: 3, Messages: 80, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if err := audit.Snapshot(ctx, l); err != nil {
		t.Fatal(err)
	}
	demand(t, l, "old")
	work(t, l)
	demand(t, l, "old")

	b := &bench{t: t, l: l}
	b.back("save")
	for _, plant := range plants {
		t.Run(plant.name, func(t *testing.T) {
			b := &bench{t: t, l: l}
			plant.do(b)
			report, err := audit.Run(ctx, l, "old")
			if err != nil {
				t.Fatal(err)
			}
			if report.Count(plant.want) == 0 {
				t.Errorf("%s: not found; the audit says %v", plant.want, report.Faults)
			}
			for _, fault := range report.Faults {
				if fault.Kind != plant.want && !slices.Contains(plant.besides, fault.Kind) {
					t.Errorf("besides %s the audit says %s: %s %s", plant.want, fault.Kind, fault.Account, fault.Detail)
				}
			}
			if plant.undo != nil {
				plant.undo(b)
			}
			b.back("restore")
		})
	}
	demand(t, l, "old")

	report, err := audit.Run(ctx, l, "new")
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Count(audit.AccountMissing); got != 3 {
		t.Errorf("nothing was moved and everything is demanded of the new server: got %d missing accounts, want 3", got)
	}
}

// demand fails the test if the audit finds any fault.
func demand(t *testing.T, l *lab.Lab, home string) {
	t.Helper()
	report, err := audit.Run(t.Context(), l, home)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range report.Faults {
		t.Errorf("the audit says %s: %s %s", fault.Kind, fault.Account, fault.Detail)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// work lets senders and users work for a while, until there is something of each sort.
func work(t *testing.T, l *lab.Lab) {
	t.Helper()
	stop := make(chan struct{})
	failures := make(chan error, 2)
	go func() {
		options := traffic.Options{RateNormal: 8, RateStale: 4, RateUsers: 1, Life: time.Minute}
		failures <- traffic.Run(t.Context(), l, options, stop)
	}()
	go func() {
		failures <- users.Run(t.Context(), l, users.Options{Act: 300 * time.Millisecond, Probe: time.Second}, stop)
	}()
	deadline := time.Now().Add(2 * time.Minute)
	for !enough(t, l) && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
	}
	close(stop)
	for range 2 {
		if err := <-failures; err != nil {
			t.Fatal(err)
		}
	}
	// What was accepted last is on its way into a mailbox.
	for queue := "?"; queue != ""; {
		if time.Now().After(deadline.Add(time.Minute)) {
			t.Fatalf("the queue does not run empty: %s", queue)
		}
		time.Sleep(200 * time.Millisecond)
		queue = (&bench{t, l}).run("old", "postqueue", "-j")
	}
}

// enough reports whether each thing the plants need has happened.
func enough(t *testing.T, l *lab.Lab) bool {
	actions, err := record.Read[users.Action](l.Record(users.ActionsFile))
	if err != nil {
		t.Fatal(err)
	}
	done := make(map[users.Verb]int)
	for _, action := range actions {
		if action.Result == users.Done && action.Account == user {
			done[action.Verb]++
		}
	}
	ledger, err := record.Read[traffic.Entry](l.Record(traffic.LedgerFile))
	if err != nil {
		t.Fatal(err)
	}
	return done[users.Append] > 3 && done[users.Flag] > 3 && done[users.Move] > 0 && done[users.Expunge] > 0 && len(ledger) > 100
}

// A bench is a lab in a test.
type bench struct {
	t *testing.T
	l *lab.Lab
}

func (b *bench) run(host string, argv ...string) string {
	b.t.Helper()
	h, err := b.l.Host(host)
	if err != nil {
		b.t.Fatal(err)
	}
	output, err := h.Run(context.WithoutCancel(b.t.Context()), nil, argv...)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

// doveadm runs doveadm on the old server for the user.
func (b *bench) doveadm(command string, args ...string) string {
	b.t.Helper()
	words := strings.Fields(command)
	return b.run("old", append(append(append([]string{"doveadm"}, words...), "-u", user), args...)...)
}

// back saves all stores and records, or restores them.
func (b *bench) back(what string) {
	b.t.Helper()
	from, to := "/var/vmail/", "/var/saved/"
	if what == "restore" {
		from, to = to, from
	}
	b.run("old", "rsync", "-a", "--delete", "--checksum", from, to) // a plant may leave size and time as they were
	for _, file := range []string{traffic.LedgerFile, users.ActionsFile, users.LoginsFile} {
		from, to := b.l.Record(file), b.l.Record(file)+".saved"
		if what == "restore" {
			from, to = to, from
		}
		data, err := os.ReadFile(from)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// file returns the path, from outside, of a message file in a folder of the user, as Maildir++ calls it.
func (b *bench) file(folder string) string {
	b.t.Helper()
	host, err := b.l.Host("old")
	if err != nil {
		b.t.Fatal(err)
	}
	dir, err := host.Path("/var/vmail/example.com/murphy/Maildir/" + folder)
	if err != nil {
		b.t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/cur/*")
	if err != nil || len(files) == 0 {
		b.t.Fatalf("no message in %s: %v", folder, err)
	}
	return files[0]
}

// live returns the UID in INBOX of a message that came by traffic, in which no user had a hand.
func (b *bench) live() string {
	b.t.Helper()
	touched := make(map[string]bool)
	for _, action := range b.actions() {
		touched[fmt.Sprint(action.UID)] = touched[fmt.Sprint(action.UID)] || action.Folder == "INBOX"
	}
	for _, uid := range strings.Fields(b.doveadm("-f flow fetch", "uid", "mailbox", "INBOX", "header", traffic.MarkerField, "sender")) {
		if uid = strings.TrimPrefix(uid, "uid="); !touched[uid] {
			return uid
		}
	}
	b.t.Fatal("no message came to INBOX that nobody touched")
	return ""
}

func (b *bench) actions() []users.Action {
	b.t.Helper()
	actions, err := record.Read[users.Action](b.l.Record(users.ActionsFile))
	if err != nil {
		b.t.Fatal(err)
	}
	return slices.DeleteFunc(actions, func(a users.Action) bool { return a.Account != user || a.Result != users.Done })
}

// write adds an entry to a record.
func write[T any](b *bench, file string, entry T) {
	b.t.Helper()
	log, err := record.Append[T](b.l.Record(file))
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	if err := log.Write(entry); err != nil {
		b.t.Fatal(err)
	}
}
