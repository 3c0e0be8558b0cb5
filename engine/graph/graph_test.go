package graph

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func build(edges ...string) *Graph[string] {
	g := New[string]()
	for _, e := range edges {
		first, second, ok := strings.Cut(e, ">")
		if !ok {
			g.Add(first)
			continue
		}
		g.Connect(first, second)
	}
	return g
}

func TestOrder(t *testing.T) {
	for _, test := range []struct {
		edges []string
		want  string
	}{
		{nil, ""},
		{[]string{"b", "a"}, "b a"},
		{[]string{"a>b", "b>c"}, "a b c"},
		{[]string{"c>b", "b>a", "c>a", "c>a"}, "c b a"},
		{[]string{"sign", "h1>sign", "h2>sign"}, "h1 h2 sign"},
	} {
		order, err := build(test.edges...).Order()
		if got := strings.Join(order, " "); err != nil || got != test.want {
			t.Errorf("Order(%v) = %q, %v, want %q", test.edges, got, err, test.want)
		}
	}
}

func TestCycleNamesItsMembers(t *testing.T) {
	_, err := build("x>a", "a>b", "b>c", "c>a", "c>y").Order()
	var cycle *CycleError[string]
	if !errors.As(err, &cycle) {
		t.Fatalf("Order = %v, want a cycle", err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, cycle.Members); diff != "" {
		t.Error(diff)
	}
	if want := "a cycle: a → b → c → a"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestFailureHoldsBackDependantsOnly(t *testing.T) {
	f := build("a>b", "b>c", "d>e").Frontier()
	for _, k := range f.Ready() {
		f.Start(k)
	}
	f.Fail("a")
	f.Finish("d")
	if diff := cmp.Diff([]string{"e"}, f.Ready()); diff != "" {
		t.Error(diff)
	}
	f.Start("e")
	f.Retry("e")
	if diff := cmp.Diff([]string{"e"}, f.Ready()); diff != "" {
		t.Errorf("taken back: %s", diff)
	}
	if again := f.Ready(); len(again) > 0 {
		t.Errorf("asked again, nothing has become ready: got %q", again)
	}
	if diff := cmp.Diff([]string{"b", "c"}, f.Held()); diff != "" {
		t.Error(diff)
	}
	if f.Done() {
		t.Error("Done with a failed node")
	}
}

func TestRendering(t *testing.T) {
	g := build("a>b")
	var dot, mermaid strings.Builder
	label := func(s string) string { return `"` + s }
	if err := g.DOT(&dot, label); err != nil {
		t.Fatal(err)
	}
	if err := g.Mermaid(&mermaid, label); err != nil {
		t.Fatal(err)
	}
	if want := `n0 [label = "\"a"]`; !strings.Contains(dot.String(), want) || !strings.Contains(dot.String(), "n0 -> n1") {
		t.Errorf("DOT lacks %s or the edge:\n%s", want, dot.String())
	}
	if want := "flowchart LR\n  n0[\"#quot;a\"]\n  n1[\"#quot;b\"]\n  n0 --> n1\n"; mermaid.String() != want {
		t.Errorf("Mermaid = %q, want %q", mermaid.String(), want)
	}
}
