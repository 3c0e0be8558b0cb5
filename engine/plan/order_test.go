package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers"
)

// What leaves goes after what depended on it has changed, unless what it depends
// on itself must change before that.
func TestOrderOfWhatLeaves(t *testing.T) {
	change := func(action providers.Action, dependsOn ...string) *Change {
		return &Change{Action: action, DependsOn: dependsOn}
	}
	for _, test := range []struct {
		name    string
		world   World
		changes map[string]*Change
		back    bool
		want    []string
	}{
		{
			"a dependant is updated first",
			World{{Address: "record", DependsOn: []string{"claim"}}},
			map[string]*Change{"record": change(providers.Update, "claim"), "claim": change(providers.Remove)},
			false, []string{"record", "claim"},
		},
		{
			"so it is on the way back",
			World{{Address: "record", DependsOn: []string{"claim"}}},
			map[string]*Change{"record": change(providers.Update, "claim"), "claim": change(providers.Remove)},
			true, []string{"record", "claim"},
		},
		{
			"of what leaves, the dependant goes first",
			nil,
			map[string]*Change{"trust": change(providers.Remove, "claim"), "claim": change(providers.Remove)},
			false, []string{"trust", "claim"},
		},
		{
			"what has left long ago holds nothing up",
			World{{Address: "record", DependsOn: []string{"claim"}}},
			map[string]*Change{"record": change(providers.Update, "claim")},
			false, []string{"record"},
		},
		{
			"a triangle is no cycle",
			World{{Address: "domain"}, {Address: "record", DependsOn: []string{"domain", "probe"}}},
			map[string]*Change{
				"domain": change(providers.Update), "record": change(providers.Update, "domain", "probe"), "probe": change(providers.Remove, "domain"),
			},
			false, []string{"probe", "domain", "record"},
		},
	} {
		got, err := Order(test.world, test.changes, test.back).Order()
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: order (-want +got):\n%s", test.name, diff)
		}
	}
}
