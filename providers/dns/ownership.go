package dns

import (
	"slices"
	"strings"
)

// An ownership says which members of a set are ours.
type ownership struct {
	// exclusive is what the configuration says; all is exclusive, or a type of which
	// there is only one.
	exclusive, all bool
	texts, tags    map[string]bool
}

// owner returns the ownership that several descriptions of one object have
// together: what we want is ours, and so is what we wrote or found before. Where
// there can be only one of a kind, the one that is there is ours too, whatever it
// says: a name has one alias (RFC 1034 section 3.6.2), one SPF policy and one
// DMARC policy; with two, receivers heed none (RFC 7208 section 4.5, RFC 7489
// section 6.6.3).
func owner(values ...*rrsetValue) ownership {
	o := ownership{texts: map[string]bool{}, tags: map[string]bool{}}
	decided := false
	for _, v := range values {
		if v == nil {
			continue
		}
		if !decided {
			o.exclusive, o.all, decided = v.Exclusive, v.Exclusive || v.Type == "CNAME", true
		}
		for _, text := range v.Records {
			o.texts[key(text)] = true
			if tag := versionTag(text); v.Type == "TXT" && tag != "" {
				o.tags[tag] = true
			}
		}
	}
	return o
}

func (o ownership) owns(text string) bool {
	return o.all || o.texts[key(text)] || o.tags[versionTag(text)]
}

// versionTag returns the tag by which a policy in a TXT record says what it is,
// such as "v=spf1" or "v=dmarc1"; "" if there is none.
func versionTag(text string) string {
	tag, _, _ := strings.Cut(text, ";")
	tag, _, _ = strings.Cut(tag, " ")
	tag = strings.ToLower(tag)
	if !strings.HasPrefix(tag, "v=") || len(tag) == len("v=") {
		return ""
	}
	return tag
}

// routes says that the members of a set of this type share the traffic: who is in
// it gets a part of the mail or of the logins.
func routes(typ string) bool {
	return slices.Contains([]string{"A", "AAAA", "MX", "SRV"}, typ)
}

// divide returns the texts of the members that are ours, and of the others in
// printable form.
func (o ownership) divide(set RRset) (ours, others []string) {
	ours, others = []string{}, []string{}
	for _, record := range set.Records {
		if o.owns(record.Text) {
			ours = append(ours, key(record.Text))
		} else {
			others = append(others, printable(record.Text))
		}
	}
	return ours, others
}

// satisfied reports whether set is as desired, as far as that is ours.
func (o ownership) satisfied(set RRset, desired *rrsetValue) bool {
	ours, _ := o.divide(set)
	if desired == nil {
		return len(ours) == 0
	}
	if desired.TTL != nil && set.Exists() && *desired.TTL != int64(set.TTL) {
		return false
	}
	return slices.Equal(keys(ours), keys(desired.Records))
}
