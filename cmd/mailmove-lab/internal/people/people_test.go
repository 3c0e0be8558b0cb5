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
			got := p.Expand("198.51.100.10", tt.recipients...)
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Expand(%q) (-want +got):\n%s", tt.recipients, diff)
			}
		})
	}
}

func TestExpandOfSystemUsers(t *testing.T) {
	p := New("example.com", "other.example", 7, 1, "198.51.100.10")
	if p.CatchAll() {
		t.Error("there is a catch-all")
	}
	for _, a := range p.Accounts {
		if a.Full || a.Local == "4711" {
			t.Errorf("%s cannot be a system user", a.Address())
		}
	}
	tests := []struct {
		name, server string
		recipients   []string
		want         []string
	}{
		{"alias and its account", "198.51.100.10", []string{"info@example.com", "murphy@example.com"}, []string{"murphy@example.com", "murphy@example.com"}},
		{"the same by submission", "198.51.100.10:587", []string{"info@example.com", "murphy@example.com"}, []string{"murphy@example.com", "murphy@example.com"}},
		{"the same at the other server", "198.51.100.20", []string{"info@example.com", "murphy@example.com"}, []string{"murphy@example.com"}},
		{"one recipient twice", "198.51.100.10", []string{"murphy@example.com", "Murphy@example.com"}, []string{"murphy@example.com"}},
		{"group with a member twice", "198.51.100.10", []string{"team@example.com"},
			[]string{"anna.maria@example.com", "murphy@example.com", "office@example.com"}},
		{"an alias drops its tag", "198.51.100.10", []string{"postmaster+x@example.com"}, []string{"murphy@example.com"}},
		{"an account keeps it", "198.51.100.10", []string{"murphy+x@example.com"}, []string{"murphy+x@example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.Expand(tt.server, tt.recipients...)
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Expand(%q, %q) (-want +got):\n%s", tt.server, tt.recipients, diff)
			}
		})
	}
}

func TestNewIsDeterministic(t *testing.T) {
	if diff := cmp.Diff(New("example.com", "other.example", 20, 7), New("example.com", "other.example", 20, 7)); diff != "" {
		t.Errorf("two populations of one seed differ:\n%s", diff)
	}
}
