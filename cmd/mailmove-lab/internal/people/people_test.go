package people

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpand(t *testing.T) {
	p := New("example.com", "other.example", 5, 1)
	tests := []struct {
		name       string
		recipients []string
		want       []string
	}{
		{"account", []string{"murphy@example.com"}, []string{"murphy@example.com"}},
		{"case", []string{"Murphy@Example.com"}, []string{"murphy@example.com"}},
		{"plus address is an address of its own", []string{"murphy@example.com", "murphy+a@example.com"},
			[]string{"murphy+a@example.com", "murphy@example.com"}},
		{"alias", []string{"info@example.com"}, []string{"murphy@example.com"}},
		{"chain", []string{"verkauf@example.com"}, []string{"murphy@example.com"}},
		{"tag carried along a chain", []string{"verkauf+x@example.com"}, []string{"murphy+x@example.com"}},
		{"group with a member twice", []string{"team@example.com"},
			[]string{"anna.maria@example.com", "murphy@example.com", "office@example.com"}},
		{"alias and its account in one transaction", []string{"info@example.com", "murphy@example.com"}, []string{"murphy@example.com"}},
		{"catch-all", []string{"nobody@example.com"}, []string{"office@example.com"}},
		{"catch-all carries no tag", []string{"nobody+x@example.com"}, []string{"office@example.com"}},
		{"no catch-all there", []string{"nora@other.example"}, []string{"nora@other.example"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.Expand(tt.recipients...)
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Expand(%q) (-want +got):\n%s", tt.recipients, diff)
			}
		})
	}
}

func TestNewIsDeterministic(t *testing.T) {
	if diff := cmp.Diff(New("example.com", "other.example", 20, 7), New("example.com", "other.example", 20, 7)); diff != "" {
		t.Errorf("two populations of one seed differ:\n%s", diff)
	}
}
