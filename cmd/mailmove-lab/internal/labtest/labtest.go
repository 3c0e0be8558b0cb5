// Package labtest brings labs up for tests.
package labtest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/image"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

// Main is what TestMain of a package that uses labs must call: a host's first process is the test program again.
func Main(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == machine.InitCommand {
		fmt.Fprintln(os.Stderr, "host:", machine.Init(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Options are those of a lab for tests.
func Options() lab.Options {
	return lab.Options{SPF: "mark", TTL: time.Hour, ImageDir: image.DefaultDir}
}

// NeedRoot skips the test if it may not make hosts.
func NeedRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: what needs real servers in network namespaces is left out")
	}
}

// Up brings a lab up and takes it down when the test ends.
func Up(t *testing.T, name string, options lab.Options) *lab.Lab {
	t.Helper()
	NeedRoot(t)
	options.Progress = func(what string) { t.Log(what) }
	if err := lab.Down(t.Context(), name); err != nil { // of a test that was killed
		t.Fatal(err)
	}
	l, err := lab.Up(t.Context(), name, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return l
}
