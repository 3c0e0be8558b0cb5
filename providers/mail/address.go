package mail

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// An Address is an RFC 5321 mailbox or, with an empty local part ("@domain"),
// all addresses of a domain that nothing else matches. Its normal form is lower
// case with the domain in A-labels. The zero value is no address.
type Address string

// ParseAddress returns the normal form of an address. It is strict: what could
// be read as anything but a name in a map, a path or a protocol line (white
// space, control characters, quotes, a slash, a leading hyphen, …) is refused,
// since such a name cannot be moved safely.
func ParseAddress(s string) (Address, error) {
	local, domain, ok := cutLast(s, "@")
	if !ok {
		return "", fmt.Errorf("address %q: no @", s)
	}
	d, err := ParseDomain(domain)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", s, err)
	}
	if local == "" {
		return Address("@" + d), nil
	}
	if len(local) > 64 {
		return "", fmt.Errorf("address %q: the local part is longer than 64 octets (RFC 5321 section 4.5.3.1.1)", s)
	}
	if strings.HasPrefix(local, "-") || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", fmt.Errorf("address %q: the local part begins with a hyphen or has a dot too many", s)
	}
	for _, r := range local {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".!#$&'*+=?^_{}~-", r) {
			continue
		}
		return "", fmt.Errorf("address %q: %q cannot stand in an address that is to be moved", s, r)
	}
	return Address(strings.ToLower(local) + "@" + d), nil
}

// ParseDomain returns the normal form of a domain name: lower case, A-labels, no
// dot at the end.
func ParseDomain(s string) (string, error) {
	d, err := idna.Lookup.ToASCII(strings.ToLower(s))
	if err != nil || d == "" || strings.HasPrefix(d, ".") || strings.HasSuffix(d, ".") || strings.ContainsAny(d, " /_:\\\"'") || len(d) > 253 {
		return "", fmt.Errorf("domain %q is not a domain name", s)
	}
	return d, nil
}

// Local returns the local part; "" for a whole domain.
func (a Address) Local() string { l, _, _ := cutLast(string(a), "@"); return l }

// Domain returns the domain.
func (a Address) Domain() string { _, d, _ := cutLast(string(a), "@"); return d }

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
