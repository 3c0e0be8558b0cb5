package demo

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

func TestFinals(t *testing.T) {
	p := newPeople(6)
	for _, test := range []struct {
		name     string
		to, want []mail.Address
	}{
		{"an account", []mail.Address{at("ada")}, []mail.Address{at("ada")}},
		{"with an extension", []mail.Address{at("ada+x")}, []mail.Address{at("ada+x")}},
		{"plain and with an extension are two", []mail.Address{at("ada+x"), at("ada")}, []mail.Address{at("ada+x"), at("ada")}},
		{"an alias", []mail.Address{at("sales")}, []mail.Address{at("ada")}},
		{"an alias passes the extension on", []mail.Address{at("sales+x")}, []mail.Address{at("ada+x")}},
		{"the same by three names is one", []mail.Address{at("marie"), at("nobody"), at("unknown")}, []mail.Address{at("marie")}},
		{"an alias of aliases", []mail.Address{at("all")}, []mail.Address{at("ada"), at("grace"), at("marie"), at("murphy")}},
		{"the catch-all", []mail.Address{at("nobody+x")}, []mail.Address{at("marie")}},
	} {
		if diff := cmp.Diff(test.want, p.finals(test.to...)); diff != "" {
			t.Errorf("%s: final addresses (-want +got):\n%s", test.name, diff)
		}
	}
}
