package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/cmd/mailmove/internal/demo"
)

// After a move the audit names what is done by hand to the new server.
func TestDemoFindsFaults(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	a := newApp(nil, &out, io.Discard, nil)
	o := &demoOptions{Options: demo.Options{Accounts: 3}, report: filepath.Join(t.TempDir(), "report.html")}
	o.rested = func(d *demo.Demo) {
		for i, fault := range []func(*testing.T, *imapclient.Client){loseOne, doubleOne, dropFlag} {
			plantFault(t, d, d.Accounts()[i], fault)
		}
	}
	err := a.demo(t.Context(), o)
	if err == nil || exitCode(err) != exitError {
		t.Errorf("the demonstration ends with %v, want exit code %d", err, exitError)
	}
	for _, want := range []string{
		"lost or misfiled: murphy@demo.example", "doubled: ada@demo.example", "flags or keywords altered: grace@demo.example", "3 things are wrong",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the audit does not say %q", want)
		}
	}
	if t.Failed() {
		t.Logf("the audit says:\n%s", out.String()[max(0, strings.Index(out.String(), "Audit, read")):])
	}
	page, err := os.ReadFile(o.report)
	if err != nil || !bytes.Contains(page, []byte("3 things are wrong")) || !bytes.Contains(page, []byte("POINT OF NO RETURN")) {
		t.Errorf("the page (%v) does not hold the plan and the audit", err)
	}
	nothingLeft(t)
}

// plantFault opens a folder in which users never act, and does something there.
func plantFault(t *testing.T, d *demo.Demo, account string, fault func(*testing.T, *imapclient.Client)) {
	t.Helper()
	client, err := d.Login(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Select("Projects/Übersicht", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	fault(t, client)
}

func loseOne(t *testing.T, client *imapclient.Client) {
	flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := errors.Join(client.Store(imap.UIDSetNum(1), flags, nil).Close(), client.UIDExpunge(imap.UIDSetNum(1)).Close()); err != nil {
		t.Fatal(err)
	}
}

func doubleOne(t *testing.T, client *imapclient.Client) {
	if _, err := client.Copy(imap.UIDSetNum(1), "Projects/Übersicht").Wait(); err != nil {
		t.Fatal(err)
	}
}

func dropFlag(t *testing.T, client *imapclient.Client) {
	// Whichever flags it had, now it is one fewer, or one more.
	found, err := client.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{Flags: true}).Collect()
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{"surprise"}}
	if len(found[0].Flags) > 0 {
		flags = &imap.StoreFlags{Op: imap.StoreFlagsDel, Silent: true, Flags: found[0].Flags[:1]}
	}
	if err := client.Store(imap.UIDSetNum(1), flags, nil).Close(); err != nil {
		t.Fatal(err)
	}
}

// Whoever interrupts the demonstration finds nothing left of it.
func TestDemoInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	seen := &watcher{pattern: "Waiting until", found: make(chan struct{})}
	a := newApp(nil, io.Discard, seen, nil)
	ended := make(chan error, 1)
	go func() { ended <- a.demo(ctx, &demoOptions{Options: demo.Options{Accounts: 1}}) }()
	select {
	case <-seen.found:
	case err := <-ended:
		t.Fatalf("it ended by itself: %v; it said:\n%s", err, seen.text())
	case <-time.After(2 * time.Minute):
		t.Fatalf("it waits for nothing; it said:\n%s", seen.text())
	}
	cancel()
	if err := <-ended; exitCode(err) != exitInterrupted {
		t.Errorf("it ends with %v, want exit code %d", err, exitInterrupted)
	}
	nothingLeft(t)
}

func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("the demonstration leaves %v behind (%v)", left, err)
	}
}
