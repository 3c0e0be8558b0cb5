package dns

import (
	"fmt"
	"strings"

	miekg "github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// Absolute returns the normal form of an owner name: absolute, lower case, in
// A-labels, with the trailing dot. A name that ends in a dot, is the zone, or
// ends in the zone at a label boundary is absolute; every other is relative to
// the zone, and "@" is the zone itself.
//
//	zone example.com.: "example.com" → "example.com."
//	                   "_dmarc"      → "_dmarc.example.com."
//	                   "notexample.com" → "notexample.com.example.com."
func Absolute(name, zone string) (string, error) {
	if name == "@" {
		return zone, nil
	}
	absolute, err := canonical(name)
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(name, ".") {
		if !InZone(absolute, zone) {
			return "", fmt.Errorf("name %q is not in the zone %s", name, zone)
		}
		return absolute, nil
	}
	if InZone(absolute, zone) {
		return absolute, nil
	}
	return canonical(absolute + zone)
}

// Target returns the normal form of a name inside a record (an exchanger, an
// alias's target). Unlike an owner name it may lie anywhere, so a name with a dot
// in it is absolute whether or not it ends in one: the forgotten dot that sends
// mail to mail.example.com.example.com is not a mistake that can be made here. A
// single label is relative to the zone.
func Target(name, zone string) (string, error) {
	switch {
	case name == "@":
		return zone, nil
	case name == ".":
		return ".", nil // RFC 7505: the null MX; RFC 2782: no such service
	case !strings.Contains(name, "."):
		return canonical(name + "." + zone)
	}
	return canonical(name)
}

// InZone reports whether an absolute name is the zone's apex or below it.
func InZone(name, zone string) bool {
	return zone == "." || name == zone || strings.HasSuffix(name, "."+zone)
}

// canonical returns name as absolute A-labels in lower case.
func canonical(name string) (string, error) {
	trimmed := strings.TrimSuffix(name, ".")
	if trimmed == "" {
		return "", fmt.Errorf("name %q is empty", name)
	}
	if !isASCII(trimmed) {
		// UTS 46 for U-labels only, and not strictly: the labels of services begin
		// with an underscore (RFC 8552), a wildcard is an asterisk.
		profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))
		ascii, err := profile.ToASCII(trimmed)
		if err != nil {
			return "", fmt.Errorf("name %q: %w", name, err)
		}
		trimmed = ascii
	}
	// Any octet may stand in a label (RFC 2181 section 11), but in the names of mail
	// no other does, and one that does is a slip of the pen.
	if strings.ContainsFunc(trimmed, func(r rune) bool { return !strings.ContainsRune(nameCharacters, r) }) {
		return "", fmt.Errorf("name %q holds a character that is no letter, digit, hyphen, underscore or asterisk", name)
	}
	absolute := miekg.CanonicalName(trimmed)
	if _, ok := miekg.IsDomainName(absolute); !ok {
		// RFC 1035 section 2.3.4.
		return "", fmt.Errorf("name %q is not a domain name: labels have 1 to 63 octets, names up to 255", name)
	}
	return absolute, nil
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*."

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// wildcards returns the wildcard names that could answer for name, nearest
// first (RFC 4592 section 2.1.1).
func wildcards(name, zone string) []string {
	var names []string
	for rest := name; rest != zone; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok || !InZone(parent, zone) {
			break
		}
		if wildcard := "*." + parent; wildcard != name {
			names = append(names, wildcard)
		}
		rest = parent
	}
	return names
}
