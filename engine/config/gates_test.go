package config

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
)

func archive(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/worlds/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), "-- want --")
	return text
}

// seen makes observed objects of a type.
func seen(typ string, values map[string]cty.Value) cty.Value {
	for _, schema := range testSchemas() {
		if r, ok := schema.Resources[typ]; ok {
			all := map[string]cty.Value{}
			for name, attr := range r.Attributes {
				all[name] = cty.NullVal(attr.Type)
			}
			for name, v := range values {
				all[name] = v
			}
			return cty.ObjectVal(all)
		}
	}
	panic("no type " + typ)
}

func absentObject(typ string) cty.Value { return cty.NullVal(seen(typ, nil).Type()) }

func copied(behind int64) cty.Value {
	return seen("box_copy", map[string]cty.Value{"behind": cty.NumberIntVal(behind)})
}

func record(cached string) cty.Value {
	v := map[string]cty.Value{}
	if cached != "" {
		v["cached_until"] = cty.StringVal(cached)
	}
	return seen("record", v)
}

const (
	murphy = `module.example.box_copy.box["murphy"]`
	office = `module.example.box_copy.box["office"]`
	target = "module.example.record.target"
)

// A saturday evening within the window.
var saturday = time.Date(2026, 1, 31, 20, 30, 0, 0, time.UTC)

func TestGates(t *testing.T) {
	c := must(t, archive(t, "moving"), func(o *Options) { o.Vars = []string{`approvers=["anna", "bob"]`} })
	for _, test := range []struct {
		name     string
		observed Observed
		now      time.Time
		want     map[string]string // gate: evidence, with + if it is open
	}{
		{
			name: "nothing observed", now: saturday,
			want: map[string]string{
				"ttl_lapsed": target + " has not been observed yet",
				"in_sync":    murphy + " has not been observed yet",
				"approved":   "it waits for approval by anna, bob",
				"window":     "+the window is open until 2026-02-01T03:00:00+01:00",
			},
		},
		{
			name: "all well", now: saturday,
			observed: Observed{target: record("2026-01-31T20:00:00Z"), murphy: copied(3), office: copied(20)},
			want: map[string]string{
				"ttl_lapsed": "+it is after 2026-01-31T20:00:00Z",
				"in_sync":    "+it is true",
				"approved":   "it waits for approval by anna, bob",
				"window":     "+the window is open until 2026-02-01T03:00:00+01:00",
			},
		},
		{
			name: "too early, behind", now: saturday.AddDate(0, 0, 1),
			observed: Observed{target: record("2026-02-03T20:00:00Z"), murphy: copied(31), office: copied(20)},
			want: map[string]string{
				"ttl_lapsed": "it is not yet 2026-02-03T20:00:00Z",
				"in_sync":    murphy + ": behind is 31",
				"approved":   "it waits for approval by anna, bob",
				"window":     "the window opens at 2026-02-07T21:00:00+01:00",
			},
		},
		{
			name: "never changed, one is gone", now: saturday,
			observed: Observed{target: record(""), murphy: absentObject("box_copy"), office: copied(0)},
			want: map[string]string{
				"ttl_lapsed": "+there is nothing to wait for",
				"in_sync":    murphy + " does not exist now",
				"approved":   "it waits for approval by anna, bob",
				"window":     "+the window is open until 2026-02-01T03:00:00+01:00",
			},
		},
		{
			name: "the record is gone", now: saturday,
			observed: Observed{target: absentObject("record"), murphy: copied(0), office: copied(0)},
			want: map[string]string{
				"ttl_lapsed": target + " does not exist now",
				"in_sync":    "+it is true",
				"approved":   "it waits for approval by anna, bob",
				"window":     "+the window is open until 2026-02-01T03:00:00+01:00",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			readings, diags := c.Gates(plan.Position{"module.example": "copy"}, "module.example", "cutover", test.observed, test.now)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			got := map[string]string{}
			for _, r := range readings {
				got[r.Name] = r.Evidence
				if r.Open {
					got[r.Name] = "+" + r.Evidence
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestGateDetails(t *testing.T) {
	c := must(t, archive(t, "moving"), func(o *Options) { o.Vars = []string{`approvers=["anna", "bob"]`} })
	at := plan.Position{"module.example": "copy"}
	readings, diags := c.Gates(at, "module.example", "cutover", Observed{target: record("2026-02-03T20:00:00Z")}, saturday)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	ttl, approved, window := readings[0], readings[2], readings[3]
	if want := time.Date(2026, 2, 3, 20, 0, 0, 0, time.UTC); !ttl.Until.Equal(want) {
		t.Errorf("the timer opens at %v, want %v", ttl.Until, want)
	}
	if diff := cmp.Diff([]string{"anna", "bob"}, approved.Approvers); diff != "" || approved.Quorum != 1 {
		t.Errorf("approvers (-want +got)\n%s quorum %d, want 1", diff, approved.Quorum)
	}
	if want := time.Date(2026, 2, 1, 2, 0, 0, 0, time.UTC); !window.Closes.Equal(want) {
		t.Errorf("the window closes at %v, want %v", window.Closes, want)
	}
	if want := (plan.Gate{Name: "window", Kind: plan.Window, Text: "schedule = var.cutover.window"}); window.Gate != want {
		t.Errorf("got %+v, want %+v", window.Gate, want)
	}
}

func TestApproval(t *testing.T) {
	for _, test := range []struct {
		body, want string
		open       bool
		quorum     int
	}{
		{body: "", want: "it waits for approval by anybody", quorum: 1},
		{body: "from = null", want: "no approval is asked for", open: true},
		{body: "from = []", want: "it waits for approval by anybody", quorum: 1},
		{body: "quorum = 2", want: "it waits for 2 approvals by anybody", quorum: 2},
		{body: "from = [\"anna\", \"bob\"]\nquorum = 2", want: "it waits for 2 approvals by anna, bob", quorum: 2},
	} {
		c := must(t, "-- main.mm.hcl --\nphase \"a\" {\n  gate \"g\" {\n    approval {\n"+test.body+"\n}\n}\n}\n")
		readings, diags := c.Gates(nil, "", "a", nil, saturday)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		got := readings[0]
		if got.Evidence != test.want || got.Open != test.open || got.Quorum != test.quorum {
			t.Errorf("%q: got %+v, want %+v", test.body, got, test)
		}
	}
}

// TestGateOfAnotherClock reads the position of other clocks and observed values
// through outputs of modules.
func TestGateOfAnotherClock(t *testing.T) {
	c := must(t, archive(t, "waves"))
	at := plan.Position{"": "before", `module.wave["one"]`: "moved", `module.wave["two"]`: "copy"}
	for _, want := range []bool{false, true} {
		readings, diags := c.Gates(at, "", "after", nil, saturday)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if readings[0].Open != want {
			t.Errorf("at %v the gate is open: %v, want %v (%s)", at, readings[0].Open, want, readings[0].Evidence)
		}
		at[`module.wave["two"]`] = "moved"
	}
}

func TestGateErrors(t *testing.T) {
	c := must(t, archive(t, "moving"))
	for _, test := range []struct {
		name          string
		at            plan.Position
		clock, phase  string
		observed      Observed
		want          string
		wantInReading string
	}{
		{name: "no such clock", clock: "module.exampel", phase: "copy", want: "There are no phases in module.exampel."},
		{name: "no such phase", clock: "module.example", phase: "cut", want: `There is no phase "cut" in module.example.`},
		{name: "position unknown", at: plan.Position{"module.example": "cutofer"}, clock: "module.example", phase: "copy", want: `Did you mean "cutover"? If it was renamed, say so: moved { from = phase.cutofer, to = phase.NEW }.`},
		{name: "clock gone", at: plan.Position{"module.old": "copy"}, clock: "module.example", phase: "copy", want: "module.old"},
		{
			name: "no moment", at: plan.Position{"module.example": "copy"}, clock: "module.example", phase: "cutover",
			observed: Observed{target: record("soon")}, want: `and this is "soon"`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, diags := c.Gates(test.at, test.clock, test.phase, test.observed, saturday)
			if !diags.HasErrors() || !strings.Contains(diags.Error(), test.want) {
				t.Errorf("got %v, want %q", diags, test.want)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	c := must(t, archive(t, "moving")+`-- more.mm.hcl --
variable "pin" {
  sensitive = true
  default   = "swordfish"
}
output "pin" {
  value       = var.pin
  sensitive   = true
  description = "The pin."
}
output "phases" { value = { for name in ["a"] : name => 1 } }
`)
	at := plan.Position{"module.example": "copy"}
	for _, test := range []struct {
		observed Observed
		want     cty.Value
	}{
		{nil, cty.NullVal(cty.String)},
		{Observed{target: record("2026-02-03T20:00:00Z")}, cty.StringVal("2026-02-03T20:00:00Z")},
		{Observed{target: absentObject("record")}, cty.NullVal(cty.String)},
	} {
		got, diags := c.Outputs(at, test.observed)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		want := []Output{
			{Name: "phases", Value: cty.ObjectVal(map[string]cty.Value{"a": cty.NumberIntVal(1)})},
			{Name: "pin", Value: cty.StringVal("swordfish"), Sensitive: true, Description: "The pin."},
			{Name: "waits_for", Value: test.want},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(cty.Value.RawEquals)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestChecks(t *testing.T) {
	c := must(t, archive(t, "moving")+`-- more.mm.hcl --
check "time" {
  assert {
    condition     = module.example.waits_for == "2026-02-03T20:00:00Z"
    error_message = "It waits for ${module.example.waits_for}."
  }
}
`)
	at := plan.Position{"module.example": "copy"}
	for _, test := range []struct {
		observed Observed
		status   CheckStatus
		message  string
	}{
		{nil, CheckUnknown, target + " has not been observed yet"},
		{Observed{target: record("2026-02-03T20:00:00Z")}, CheckPassed, ""},
		{Observed{target: record("never")}, CheckFailed, "It waits for never."},
	} {
		got, diags := c.Checks(at, test.observed)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		want := []CheckResult{{Address: "check.time", Status: test.status, Message: test.message, Where: "more.mm.hcl:2"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// TestMissingInside hides a missing object behind locals and outputs: the reason
// is the object, and nothing is wrong with the file.
func TestMissingInside(t *testing.T) {
	c := must(t, `-- main.mm.hcl --
provider "shelf" "a" { address = "198.51.100.10" }
phase "one" {}
phase "two" {
  after = phase.one
  gate "g" { condition = local.most <= 3 }
}
resource "box_copy" "c" {
  for_each = toset(["x", "y"])
  name     = each.key
  to       = provider.shelf.a
  lifecycle { from = phase.two }
}
resource "box_copy" "d" {
  name = "d"
  to   = provider.shelf.a
}
locals {
  most = max(concat([box_copy.d.behind], [for c in values(box_copy.c) : c.behind + 0])...)
}
output "most" { value = local.most }
check "most" {
  assert {
    condition     = local.most <= 3
    error_message = "It is ${local.most}."
  }
}
`)
	all := Observed{`box_copy.c["x"]`: copied(1), `box_copy.c["y"]`: copied(4), "box_copy.d": copied(2)}
	with := func(address string, v cty.Value) Observed {
		out := maps.Clone(all)
		if out[address] = v; v == cty.NilVal {
			delete(out, address)
		}
		return out
	}
	for _, test := range []struct {
		name, phase string
		observed    Observed
		gate, check string
		output      cty.Value
	}{
		{"all there", "two", all, "local.most is 4", "It is 4.", cty.NumberIntVal(4)},
		{"not in this phase", "one", all, `box_copy.c["x"] does not exist now`, `box_copy.c["x"] does not exist now`, cty.NullVal(cty.DynamicPseudoType)},
		{"gone", "two", with(`box_copy.c["y"]`, absentObject("box_copy")), `box_copy.c["y"] does not exist now`, `box_copy.c["y"] does not exist now`, cty.NullVal(cty.DynamicPseudoType)},
		{"not observed", "two", with("box_copy.d", cty.NilVal), "box_copy.d has not been observed yet", "box_copy.d has not been observed yet", cty.NullVal(cty.Number)},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := plan.Position{"": test.phase}
			readings, diags := c.Gates(at, "", "two", test.observed, saturday)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got := readings[0]; got.Open || got.Evidence != test.gate {
				t.Errorf("the gate says %q (open: %v), want %q", got.Evidence, got.Open, test.gate)
			}
			checks, diags := c.Checks(at, test.observed)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got := checks[0]; got.Message != test.check {
				t.Errorf("the check says %q, want %q", got.Message, test.check)
			}
			outputs, diags := c.Outputs(at, test.observed)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got := outputs[0].Value; !got.RawEquals(test.output) {
				t.Errorf("the output is %#v, want %#v", got, test.output)
			}
		})
	}
}
