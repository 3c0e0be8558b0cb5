package demo

import (
	"maps"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

// old is what a small account has before: two messages in INBOX.
func smallStore() *store {
	return &store{folders: map[string]*folder{
		"INBOX": {validity: 1, messages: map[imap.UID]message{
			1: {flags: []string{`\Seen`}, digest: "one"},
			2: {digest: "two"},
		}},
		filed:  {validity: 2, messages: map[imap.UID]message{}},
		drafts: {validity: 3, messages: map[imap.UID]message{}},
	}}
}

// What a user did, and what answers that never came leave open, decides which stores
// are faultless.
func TestExpect(t *testing.T) {
	one, two := smallStore().folders["INBOX"].messages[1], smallStore().folders["INBOX"].messages[2]
	inbox, there := place{"INBOX", 2}, place{filed, 7}
	flagged := two
	flagged.flags = []string{"todo"}
	draft := message{digest: "draft"}
	for _, test := range []struct {
		name    string
		actions []action
		now     map[place]message
		want    []Kind
	}{
		{"nothing was done", nil, map[place]message{{"INBOX", 1}: one, inbox: two}, nil},
		{"a flag is there", []action{{verb: flag, place: inbox, message: two, flag: "todo"}}, map[place]message{{"INBOX", 1}: one, inbox: flagged}, nil},
		{"a flag is lost", []action{{verb: flag, place: inbox, message: two, flag: "todo"}}, map[place]message{{"INBOX", 1}: one, inbox: two}, []Kind{ActionLost}},
		{"a flag may be lost", []action{{verb: flag, place: inbox, message: two, flag: "todo", unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: two}, nil},
		{"a flag may be there", []action{{verb: flag, place: inbox, message: two, flag: "todo", unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: flagged}, nil},
		{"a flag that was seen is lost", []action{
			{verb: flag, place: inbox, message: two, flag: "todo", unknown: true}, {verb: flag, place: inbox, message: flagged, flag: `\Seen`},
		}, map[place]message{{"INBOX", 1}: one, inbox: {digest: "two", flags: []string{`\Seen`}}}, []Kind{FlagsAltered}},
		{"moved", []action{{verb: move, place: inbox, message: two, to: there}}, map[place]message{{"INBOX", 1}: one, there: two}, nil},
		{"a move is lost", []action{{verb: move, place: inbox, message: two, to: there}}, map[place]message{{"INBOX", 1}: one, inbox: two}, []Kind{ActionLost}},
		{"may be moved", []action{{verb: move, place: inbox, message: two, unknown: true}}, map[place]message{{"INBOX", 1}: one, there: two}, nil},
		{"may not be moved", []action{{verb: move, place: inbox, message: two, unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: two}, nil},
		{"may be moved, but not gone", []action{{verb: move, place: inbox, message: two, unknown: true}}, map[place]message{{"INBOX", 1}: one}, []Kind{ActionLost}},
		{"was moved, as was seen", []action{
			{verb: move, place: inbox, message: two, unknown: true}, {verb: flag, place: there, message: two, flag: "todo"},
		}, map[place]message{{"INBOX", 1}: one, there: flagged}, nil},
		{"removed", []action{{verb: remove, place: inbox, message: two}}, map[place]message{{"INBOX", 1}: one}, nil},
		{"removed and back", []action{{verb: remove, place: inbox, message: two}}, map[place]message{{"INBOX", 1}: one, inbox: two}, []Kind{ActionLost}},
		{"may be removed", []action{{verb: remove, place: inbox, message: two, unknown: true}}, map[place]message{{"INBOX", 1}: one}, nil},
		{"may not be removed", []action{{verb: remove, place: inbox, message: two, unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: two}, nil},
		{"seen after all, and gone", []action{
			{verb: remove, place: inbox, message: two, unknown: true}, {verb: flag, place: inbox, message: two, flag: "todo"},
		}, map[place]message{{"INBOX", 1}: one}, []Kind{ActionLost}},
		{"a draft", []action{{verb: write, place: place{drafts, 1}, message: draft}}, map[place]message{{"INBOX", 1}: one, inbox: two, {drafts, 1}: draft}, nil},
		{"a draft is lost", []action{{verb: write, place: place{drafts, 1}, message: draft}}, map[place]message{{"INBOX", 1}: one, inbox: two}, []Kind{ActionLost}},
		{"there may be a draft", []action{{verb: write, message: draft, unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: two, {drafts, 1}: draft}, nil},
		{"there may be no draft", []action{{verb: write, message: draft, unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: two}, nil},
		{"there may not be two", []action{{verb: write, message: draft, unknown: true}}, map[place]message{{"INBOX", 1}: one, inbox: two, {drafts, 1}: draft, {drafts, 2}: draft}, []Kind{Stranger}},
		{"another message at the place", []action{{verb: flag, place: inbox, message: draft, flag: "todo"}}, map[place]message{{"INBOX", 1}: one, inbox: flagged}, []Kind{UIDChanged}},
	} {
		now := smallStore()
		for _, f := range now.folders {
			clear(f.messages)
		}
		for p, m := range test.now {
			now.folders[p.folder].messages[p.uid] = m
		}
		j := &judge{report: &Report{}, before: smallStore(), now: now, want: expect(smallStore(), test.actions, nil), claimed: map[place]bool{}}
		j.all()
		if diff := cmp.Diff(test.want, j.report.kinds()); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", test.name, diff)
		}
	}
}

// kinds returns the kinds of fault that there are, in order.
func (r *Report) kinds() []Kind {
	found := map[Kind]bool{}
	for _, f := range r.Faults {
		found[f.Kind] = true
	}
	return slices.Sorted(maps.Keys(found))
}
