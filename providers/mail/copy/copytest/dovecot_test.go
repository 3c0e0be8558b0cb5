package copytest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestDovecotNamesCapabilities(t *testing.T) {
	for _, format := range []Format{Maildir, MDBox} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			s := Dovecot(t, format, Options{Quota: "messages=100", ACL: true})
			own := append(strings.Fields(dovecotCapabilities), "QUOTA", "ACL", "RIGHTS=TEXK") // go-imap has no lower case
			slices.Sort(own)
			if got := sortedCaps(s.Login(t, s.Users[0]).Caps()); !slices.Equal(got, own) {
				t.Errorf("Dovecot's own capabilities are\n%q, want\n%q", got, own)
			}
			hidden := []string{"MULTIAPPEND", "UIDPLUS", "LITERAL+"}
			s.Reconfigure(t, func(o *Options) { o.Hide, o.Show = hidden, []string{"APPENDLIMIT=77"} })
			want := slices.DeleteFunc(own, func(name string) bool { return slices.Contains(hidden, name) })
			want = append(want, "APPENDLIMIT=77")
			slices.Sort(want)
			if got := sortedCaps(s.Login(t, s.Users[0]).Caps()); !slices.Equal(got, want) {
				t.Errorf("with some hidden and one shown the capabilities are\n%q, want\n%q", got, want)
			}
		})
	}
}

func sortedCaps(caps imap.CapSet) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(caps)) {
		names = append(names, string(name))
	}
	return names
}
