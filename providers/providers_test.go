package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"
)

type box struct {
	Name  string   `cty:"name"`
	Size  *int     `cty:"size"`
	Tags  []string `cty:"tags"`
	State string   `cty:"state"`
}

var boxSchema = ResourceSchema{Attributes: Attributes{
	"name":  {Type: cty.String, Required: true, Identity: true},
	"size":  {Type: cty.Number},
	"tags":  {Type: cty.Set(cty.String)},
	"state": {Type: cty.String, Computed: true},
}}

func TestDecodeAndEncode(t *testing.T) {
	five := 5
	for name, test := range map[string]struct {
		value cty.Value
		want  *box
	}{
		"null": {cty.NullVal(boxSchema.Attributes.Type()), nil},
		"all": {cty.ObjectVal(map[string]cty.Value{
			"name": cty.StringVal("a"), "size": cty.NumberIntVal(5), "tags": cty.SetVal([]cty.Value{cty.StringVal("x")}), "state": cty.StringVal("s"),
		}), &box{Name: "a", Size: &five, Tags: []string{"x"}, State: "s"}},
		"null attributes": {cty.ObjectVal(map[string]cty.Value{
			"name": cty.StringVal("a"), "size": cty.NullVal(cty.Number), "tags": cty.NullVal(cty.Set(cty.String)), "state": cty.StringVal(""),
		}), &box{Name: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode[box](test.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Fatal(diff)
			}
			back, err := Encode(boxSchema, got)
			if err != nil {
				t.Fatal(err)
			}
			if !back.RawEquals(test.value) {
				t.Errorf("encoded %#v, want %#v", back, test.value)
			}
		})
	}
}

func TestDiffersIgnoresWhatIsNotManaged(t *testing.T) {
	value := func(size, tags cty.Value) cty.Value {
		return cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("a"), "size": size, "tags": tags, "state": cty.StringVal("whatever")})
	}
	none, tags := cty.NullVal(cty.Set(cty.String)), cty.SetVal([]cty.Value{cty.StringVal("x")})
	got := boxSchema.Differs(value(cty.NumberIntVal(1), none), value(cty.NumberIntVal(2), tags))
	if diff := cmp.Diff([]string{"size"}, got); diff != "" {
		t.Error(diff)
	}
}

// flaky is a Resource whose observations fail a few times and which batches.
type flaky struct {
	failures, calls, effects int
	err                      error
}

func (f *flaky) Observe(context.Context, cty.Value, cty.Value) (cty.Value, error) {
	f.calls++
	if f.calls <= f.failures {
		return cty.NilVal, f.err
	}
	return cty.True, nil
}

func (f *flaky) Apply(context.Context, Change, Log) (Outcome, cty.Value, error) {
	f.effects++
	return Unknown, cty.NilVal, f.err
}

func (f *flaky) BatchKey(Change) string { return "file" }

func (f *flaky) BatchLimit() int { return 7 }

func (f *flaky) ApplyBatch(_ context.Context, changes []Change, _ []Log) []Result {
	f.effects++
	return make([]Result, len(changes))
}

func TestRetryObservesOnly(t *testing.T) {
	temporary := &Fault{Err: errors.New("busy"), Retry: true}
	for _, test := range []struct {
		failures  int
		err       error
		wantCalls int
		wantErr   bool
	}{
		{0, nil, 1, false},
		{2, temporary, 3, false},
		{3, temporary, 3, true},
		{1, errors.New("for good"), 1, true},
		{1, fmt.Errorf("wrapped: %w", temporary), 2, false},
	} {
		f := &flaky{failures: test.failures, err: test.err}
		_, err := Decorate(f, Decoration{Tries: 3}).Observe(context.Background(), cty.True, cty.True)
		if f.calls != test.wantCalls || (err != nil) != test.wantErr {
			t.Errorf("%d failures with %v: %d calls, %v; want %d, error %v", test.failures, test.err, f.calls, err, test.wantCalls, test.wantErr)
		}
	}
	// What was tried in vain for one object is not tried again for the next at once.
	patience := &Patience{}
	for object, wantCalls := range []int{3, 1, 1} {
		f := &flaky{failures: 9, err: temporary}
		_, err := Decorate(f, Decoration{Tries: 3, Patience: patience}).Observe(context.Background(), cty.True, cty.True)
		if err == nil || f.calls != wantCalls {
			t.Errorf("object %d of a system that is down: %d calls, %v; want %d and an error", object, f.calls, err, wantCalls)
		}
	}
	for object, wantCalls := range []int{1, 3} { // it answers again: patience as before
		f := &flaky{failures: object * 2, err: temporary}
		if _, err := Decorate(f, Decoration{Tries: 3, Patience: patience}).Observe(context.Background(), cty.True, cty.True); err != nil || f.calls != wantCalls {
			t.Errorf("object %d of a system that is back: %d calls, %v; want %d", object, f.calls, err, wantCalls)
		}
	}
	f := &flaky{err: temporary}
	if _, _, err := Decorate(f, Decoration{Tries: 3}).Apply(context.Background(), Change{}, nil); err == nil || f.effects != 1 {
		t.Errorf("an effect was tried %d times, %v; want once, an error", f.effects, err)
	}
}

func TestReadOnlyRefusesEveryEffect(t *testing.T) {
	f := &flaky{}
	r := Decorate(f, Decoration{Tries: 2, Slots: make(chan struct{}, 1), ReadOnly: true})
	if outcome, _, err := r.Apply(context.Background(), Change{}, nil); !errors.Is(err, ErrReadOnly) || outcome != NotApplied {
		t.Errorf("Apply = %v, %v", outcome, err)
	}
	b, ok := As[Batcher](r)
	if !ok || b.BatchKey(Change{}) != "file" || b.BatchLimit() != 7 {
		t.Fatal("the decorated resource does not batch any more")
	}
	for _, res := range b.ApplyBatch(context.Background(), make([]Change, 2), make([]Log, 2)) {
		if !errors.Is(res.Err, ErrReadOnly) {
			t.Errorf("ApplyBatch = %v", res.Err)
		}
	}
	if f.effects != 0 {
		t.Errorf("%d effects", f.effects)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	const canary = "canary-7f3a"
	t.Setenv("CANARY", canary)
	s, err := NewSecret("env:CANARY")
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(context.Background())
	if err != nil || resolved != canary {
		t.Fatalf("Resolve = %q, %v", resolved, err)
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q %s", s, s, s, s, s, encoded)
	if strings.Contains(printed, canary) {
		t.Errorf("printed: %s", printed)
	}
	for _, bad := range []string{"", "canary", "plain:x", "env:"} {
		if _, err := NewSecret(bad); err == nil {
			t.Errorf("NewSecret(%q) succeeded", bad)
		}
	}
	t.Setenv("CANARY", "")
	if _, err := s.Resolve(context.Background()); err == nil {
		t.Error("an empty secret was resolved")
	}
}
