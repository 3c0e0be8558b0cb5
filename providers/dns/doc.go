// Package dns is the kind dns: the records of a zone, wherever that zone is
// edited. The resource types are written here once, over the small interface
// [Host]; each folder below is one host ("rfc2136", …) with the files provider.go,
// host.go and host_test.go, and passes the suite in dnstest.
//
// # Words
//
// A set (RRset) is all records of one name and type. The host is the place where
// the zone is edited; the authoritative servers are those that the world asks,
// every address of each. A mark is the TXT record that says which migration, and
// which turn of it, holds the zone.
//
// # Resource types
//
// dns_rrset owns values, not sets: an SPF record beside somebody's
// site-verification is exchanged and the other stays, cut into strings just as it
// was. With exclusive = true the whole set is ours. Ours is what the
// configuration wants and what it wanted before; and of what a name has only one
// of, whatever is there: the alias, and in TXT the policy that begins with the
// same version (v=spf1, v=DMARC1, …). The TTL belongs to the set, so ttl changes it
// for all members, and without ttl it is left alone.
//
//	resource "dns_rrset" "mx" {
//	  provider = var.zone
//	  name     = var.domain
//	  type     = "MX"
//	  ttl      = 300
//	  records  = ["10 mail.example.com."]
//	}
//
// Names are absolute or relative to the zone, see [Absolute] and [Target]; TXT is
// the text itself, without quotes, however long.
//
// dns_claim keeps the mark, so that an operator whose state is out of date is
// refused by the host itself, and lists the records that name the old server, so
// that none is forgotten.
//
// # Promises
//
// A set is replaced by compare-and-swap, in one step, as far as the host can:
// [Capabilities]. An MX is never empty, at no instant. Each write is read back. A
// change is done when every authoritative server, each address, answers it; one
// that cannot be reached is an error, never a yes. Servers are asked directly,
// over TCP first, and without recursion: what the zone holds is never taken from a
// cache or a resolver.
//
// # How long caches last
//
// cached_until is the latest moment at which a resolver that obeys TTLs may still
// hold a set that has been replaced: over every set replaced so far, the moment at
// which the last server stopped serving it plus the highest TTL it was served with
// (for a set that did not exist, plus the zone's negative TTL, RFC 2308 section
// 5). It is computed from what is observed: a TTL that somebody lowered by hand, a
// server that lags, a crash in the middle and a clock that jumps back make it
// later, never earlier. What was replaced before the first look cannot be known.
// The engine keeps the object as it was last observed, computed attributes
// included, and gives it back as last; without that every look is a first look.
package dns
