package lab_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// run runs a command on a host and returns what it printed.
func run(t *testing.T, l *lab.Lab, host string, argv ...string) string {
	t.Helper()
	h, err := l.Host(host)
	if err != nil {
		t.Fatal(err)
	}
	output, err := h.Run(t.Context(), nil, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

func TestLab(t *testing.T) {
	l := labtest.Up(t, "labtest", labtest.Options())

	t.Run("names lead to the old server", func(t *testing.T) {
		tests := []struct{ host, want string }{{"sender", "mail-old.example.com."}, {"stale", "mail-old.example.com."}}
		for _, tt := range tests {
			host, err := l.Host(tt.host)
			if err != nil {
				t.Fatal(err)
			}
			at, err := client.At(host)
			if err != nil {
				t.Fatal(err)
			}
			got, err := at.Exchangers(t.Context(), lab.MovingDomain)
			if err != nil || len(got) != 1 || got[0] != tt.want {
				t.Errorf("MX as %s sees it: got %q, %v, want %q", tt.host, got, err, tt.want)
			}
		}
		if got, want := run(t, l, "sender", "dig", "+short", "-x", "198.51.100.20"), "mail-new.example.com."; got != want {
			t.Errorf("name of 198.51.100.20: got %q, want %q", got, want)
		}
	})

	t.Run("the operator is let in", func(t *testing.T) {
		for _, login := range [][]string{
			{"root@198.51.100.10", "id", "-un"}, {"admin@198.51.100.20", "sudo", "-n", "id", "-un"},
		} {
			if got := run(t, l, "op", append([]string{"ssh", "-o", "BatchMode=yes"}, login...)...); got != "root" {
				t.Errorf("ssh %q: got %q, want root", login, got)
			}
		}
	})

	t.Run("the zone takes signed updates, and the secondary follows", func(t *testing.T) {
		update := "server 198.51.100.53\nzone example.com\nupdate add probe.example.com 60 A 198.51.100.99\nsend\n"
		op, err := l.Host("op")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.Run(t.Context(), strings.NewReader(update), "nsupdate", "-k", "/etc/mailmove/tsig.key"); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool {
			return run(t, l, "op", "dig", "+short", "@198.51.100.54", "probe.example.com") == "198.51.100.99"
		})
		if _, err := op.Run(t.Context(), strings.NewReader(update), "nsupdate"); err == nil {
			t.Error("the zone took an unsigned update")
		}
	})

	t.Run("a resolver that ignores TTLs keeps its first answer", func(t *testing.T) {
		run(t, l, "op", "sh", "-c", "printf 'server 198.51.100.53\nzone example.com\nupdate add brief.example.com 1 A 198.51.100.1\nsend\n' | nsupdate -k /etc/mailmove/tsig.key")
		for _, host := range []string{"sender", "stale"} {
			eventually(t, func() bool { return run(t, l, host, "dig", "+short", "brief.example.com") == "198.51.100.1" })
		}
		run(t, l, "op", "sh", "-c", "printf 'server 198.51.100.53\nzone example.com\nupdate delete brief.example.com A\nupdate add brief.example.com 1 A 198.51.100.2\nsend\n' | nsupdate -k /etc/mailmove/tsig.key")
		eventually(t, func() bool { return run(t, l, "sender", "dig", "+short", "brief.example.com") == "198.51.100.2" })
		if got, want := run(t, l, "stale", "dig", "+short", "brief.example.com"), "198.51.100.1"; got != want {
			t.Errorf("stale: got %q, want %q", got, want)
		}
	})

	t.Run("a host has no way out", func(t *testing.T) {
		if got := run(t, l, "old", "ip", "route", "show", "default"); got != "" {
			t.Errorf("default route: got %q, want none", got)
		}
	})

	t.Run("a host that loses its power keeps its disk", func(t *testing.T) {
		run(t, l, "old", "sh", "-c", "echo kept > /etc/kept; echo gone > /tmp/gone; sync")
		if err := l.Reboot(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		if got := run(t, l, "old", "sh", "-c", "cat /etc/kept; ls /tmp"); got != "kept" {
			t.Errorf("after the reboot: got %q, want kept", got)
		}
	})
}

func TestDownLeavesNothing(t *testing.T) {
	labtest.NeedRoot(t)
	options := labtest.Options()
	options.Progress = func(string) {}
	if _, err := lab.Up(t.Context(), "labgone", options); err != nil {
		t.Fatal(err)
	}
	// What a crash leaves: the record of the lab is gone, everything else still runs.
	if err := os.Remove(filepath.Join(lab.Dir, "labgone", "lab.json")); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(t.Context(), "labgone", options)
	if err != nil {
		t.Fatalf("up after a crash: %v", err)
	}
	if _, err := lab.Up(t.Context(), l.Name, options); err == nil {
		t.Error("up of a lab that is up: got no error")
	}
	if err := lab.Down(context.Background(), "labgone"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(lab.Dir, "labgone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory of the lab: got %v, want that it does not exist", err)
	}
	left, err := filepath.Glob("/run/netns/mmlab-labgone-*")
	if err != nil || len(left) > 0 {
		t.Errorf("network namespaces: got %q, %v, want none", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), "labgone") {
		t.Errorf("something is still mounted (%v):\n%s", err, mounts)
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		name   string
		change func(*lab.Options)
		want   string
	}{
		{"spf", func(o *lab.Options) { o.SPF = "softfail" }, "spf \"softfail\": must be mark or reject"},
		{"ttl", func(o *lab.Options) { o.TTL = time.Millisecond }, "ttl 1ms: must be a second or more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			options := labtest.Options()
			tt.change(&options)
			if err := options.Validate(); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// eventually waits for a condition, far longer than it can take.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within a minute")
		}
		time.Sleep(100 * time.Millisecond)
	}
}
