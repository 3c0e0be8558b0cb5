package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mailmove/mailmove/engine/plan"
)

// TestWorlds loads right configurations. Each archive ends with its clocks and
// worlds: all clocks before their first phase, in their first, and so on.
func TestWorlds(t *testing.T) {
	paths, err := filepath.Glob("testdata/worlds/*.txtar")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if last := len(archive.Files) - 1; archive.Files[last].Name == "want" {
				want = string(archive.Files[last].Data)
				archive.Files = archive.Files[:last]
			}
			c := must(t, string(txtar.Format(archive)))
			got := worldsText(t, c)
			if again := worldsText(t, c); again != got {
				t.Errorf("asked twice, Desired answers differently (-first +second)\n%s", cmp.Diff(got, again))
			}
			if *update {
				archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("(-want +got)\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// worldsText writes what Clocks and Desired say.
func worldsText(t *testing.T, c *Config) string {
	t.Helper()
	var b strings.Builder
	longest := 0
	for _, k := range c.Clocks() {
		fmt.Fprintf(&b, "clock %q:\n", k.Path)
		longest = max(longest, len(k.Phases))
		for _, p := range k.Phases {
			fmt.Fprintf(&b, "  %q %q back to %q, %s\n", p.Name, p.Title, p.Rollback, p.Where)
			for _, g := range p.Gates {
				fmt.Fprintf(&b, "    %s %s: %s\n", g.Kind, g.Name, g.Text)
			}
		}
	}
	start := -1
	if longest == 1 {
		start = 0 // without phases there is nothing before the first
	}
	for i := start; i < longest; i++ {
		at := plan.Position{}
		for _, k := range c.Clocks() {
			if i >= 0 {
				at[k.Path] = k.Phases[min(i, len(k.Phases)-1)].Name
			}
		}
		worlds, diags := c.Desired(at)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, k := range c.Clocks() {
			fmt.Fprintf(&b, "\n%q in %q:\n", k.Path, at[k.Path])
			for _, r := range worlds[k.Path] {
				fmt.Fprintf(&b, "  %s of %s (%s)\n    %s\n", r.Address, r.Provider, r.Where, canonical(r.Values))
				for _, need := range r.DependsOn {
					fmt.Fprintf(&b, "    after %s\n", need)
				}
				if r.Keep {
					fmt.Fprintf(&b, "    keep\n")
				}
			}
		}
	}
	return b.String()
}
