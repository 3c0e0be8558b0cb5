package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
)

// TestTooDeep repeats what hcl's parser or evaluator calls itself for. Without a
// bound each of these ends the process, at a length below 4 MiB.
func TestTooDeep(t *testing.T) {
	for _, unit := range []string{"(", "[", "{a=", "!", "-", `"${`, "true?1:", "a[", "a[0]", "1+", "f(", "[for a in ", "a[*].b", `"%{if a}`} {
		text := "a = " + strings.Repeat(unit, maxOperators+1)
		if tooDeep("main.mm.hcl", []byte(text)) == nil {
			t.Errorf("%d times %s can pass", maxOperators+1, unit)
		}
		if _, diags := open(t, "-- main.mm.hcl --\nlocals {\n"+text+"\n}\n"); !diags.HasErrors() {
			t.Errorf("%d times %s loads", maxOperators+1, unit)
		}
	}
	if _, diags := Format("x", []byte(strings.Repeat("a {\n", maxNesting))); !diags.HasErrors() {
		t.Error("too many blocks are formatted")
	}
	if _, diags := open(t, "-- main.mm.hcl --\nvariable \"v\" { type = list(any) }\n", func(o *Options) {
		o.Vars = []string{"v=" + strings.Repeat("[", maxNesting+1)}
	}); !diags.HasErrors() || !strings.Contains(diags.Error(), "Too deeply nested") {
		t.Errorf("got %v", diags)
	}
}

// TestDeepEnough stays just within the bounds.
func TestDeepEnough(t *testing.T) {
	c := must(t, "-- main.mm.hcl --\noutput \"o\" {\n  value = 1"+strings.Repeat("+1", maxOperators-10)+"+"+strings.Repeat("(", maxNesting-5)+"1"+strings.Repeat(")", maxNesting-5)+"\n}\n")
	if got, want := outputOf(t, c, "o"), cty.NumberIntVal(maxOperators-8); !got.RawEquals(want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

// TestLongChain lets each local value refer to the next.
func TestLongChain(t *testing.T) {
	chain := func(length int) string {
		var b strings.Builder
		b.WriteString("-- main.mm.hcl --\nlocals {\n")
		for i := range length {
			fmt.Fprintf(&b, "  a%06d = local.a%06d + 1\n", i, i+1)
		}
		fmt.Fprintf(&b, "  a%06d = 1\n}\noutput \"o\" { value = local.a000000 }\n", length)
		return b.String()
	}
	c := must(t, chain(maxChain-10))
	if got, want := outputOf(t, c, "o"), cty.NumberIntVal(maxChain-9); !got.RawEquals(want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	_, diags := open(t, chain(maxChain+10))
	if !diags.HasErrors() || !strings.Contains(diags.Error(), "Too long a chain") {
		t.Errorf("got %v", diags)
	}
}
