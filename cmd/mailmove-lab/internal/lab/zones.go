package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

// A zone is one that dns serves and dns2 follows.
type zone struct {
	Origin string // with its dot
	text   string // RFC 1035 section 5 master file
}

// File returns the name of the zone's master file.
func (z zone) File() string {
	if z.Origin == "." {
		return "root.zone"
	}
	return strings.TrimSuffix(z.Origin, ".") + ".zone"
}

// zones returns every zone of the lab: the root, the domain that moves, its neighbour, the outside domains and the
// addresses' names.
func (l *Lab) zones() []zone {
	normal := []zone{
		{MovingDomain + ".", l.movingZone()},
		{NeighbourDomain + ".", head(3600, "0 IN MX 10 mail-old."+MovingDomain+".", `0 IN TXT "v=spf1 mx -all"`,
			"mail IN A "+Address("old").String())},
		outsideZone(SenderDomain, "sender"),
		outsideZone(StaleDomain, "stale"),
		{"operator.example.", head(3600, "0 IN TXT \"operator\"", "op IN A "+Address("op").String())},
		{"100.51.198.in-addr.arpa.", reverseZone()},
	}
	return append([]zone{rootZone(normal)}, normal...)
}

// head starts a zone with its SOA and NS records. A record whose name is 0 belongs to the zone's own name.
func head(ttl int, records ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL %d\n@ IN SOA ns1.%[2]s. hostmaster.%[2]s. 1 60 30 604800 60\n", ttl, MovingDomain)
	fmt.Fprintf(&b, "@ IN NS ns1.%[1]s.\n@ IN NS ns2.%[1]s.\n", MovingDomain)
	for _, record := range records {
		if rest, apex := strings.CutPrefix(record, "0 "); apex {
			record = "@ " + rest
		}
		b.WriteString(record + "\n")
	}
	return b.String()
}

func (l *Lab) movingZone() string {
	old, fresh := Address("old").String(), Address("new").String()
	spf := "v=spf1 ip4:" + old + " -all"
	if l.Options.SPFBoth {
		spf = "v=spf1 ip4:" + old + " ip4:" + fresh + " -all"
	}
	records := []string{
		"0 IN MX 10 mail-old",
		`0 IN TXT "` + spf + `"`,
		`0 IN TXT "site-verification=5f0c8e2b71d94a3c"`,
		"ns1 IN A " + Address("dns").String(),
		"ns2 IN A " + Address("dns2").String(),
		"mail-old IN A " + old,
		"mail-new IN A " + fresh,
		"www IN A 198.51.100.80",
	}
	for _, name := range ServiceNames() {
		records = append(records, name+" IN A "+old)
	}
	return head(int(l.Options.TTL.Seconds()), records...)
}

func outsideZone(domain, host string) zone {
	address := Address(host).String()
	return zone{domain + ".", head(3600,
		"0 IN MX 10 mail", "mail IN A "+address, "0 IN A "+address,
		`0 IN TXT "v=spf1 ip4:`+address+` -all"`, `mail IN TXT "v=spf1 ip4:`+address+` -all"`)}
}

func reverseZone() string {
	var records []string
	for _, r := range roles {
		octets := netip.MustParseAddr(r.address).As4()
		records = append(records, fmt.Sprintf("%d IN PTR %s.", octets[3], r.fqdn))
	}
	return head(3600, records...)
}

// rootZone delegates every other zone.
func rootZone(zones []zone) zone {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL 86400\n. IN SOA root.example. hostmaster.root.example. 1 60 30 604800 60\n. IN NS root.example.\n")
	fmt.Fprintf(&b, "root.example. IN A %s\n", Address("dns"))
	fmt.Fprintf(&b, "ns1.%s. IN A %s\nns2.%[1]s. IN A %[3]s\n", MovingDomain, Address("dns"), Address("dns2"))
	for _, z := range zones {
		fmt.Fprintf(&b, "%s IN NS ns1.%s.\n%[1]s IN NS ns2.%[2]s.\n", z.Origin, MovingDomain)
	}
	return zone{".", b.String()}
}

// awaitZones returns when the name server on host answers for every zone. A secondary listens before it has them.
func (l *Lab) awaitZones(ctx context.Context, host *machine.Host, server netip.Addr) error {
	for _, z := range l.zones() {
		for {
			err := serves(ctx, host, server, z.Origin)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(ctx.Err(), err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func serves(ctx context.Context, host *machine.Host, server netip.Addr, origin string) error {
	conn, err := host.Dial(ctx, "udp", netip.AddrPortFrom(server, 53).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	question := new(dns.Msg).SetQuestion(origin, dns.TypeSOA)
	answer, _, err := (&dns.Client{Timeout: time.Second}).ExchangeWithConnContext(ctx, question, &dns.Conn{Conn: conn})
	if err != nil {
		return err
	}
	if !answer.Authoritative || len(answer.Answer) == 0 {
		return fmt.Errorf("%v answers %s for %s", server, dns.RcodeToString[answer.Rcode], origin)
	}
	return nil
}
