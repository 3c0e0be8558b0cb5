package dns

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/zclconf/go-cty/cty"
)

// rrsetSchema is the type dns_rrset.
func rrsetSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "Records of one name and type. The values are owned, not the set: what others put beside ours survives.",
		Attributes: providers.Attributes{
			"name":    {Type: cty.String, Required: true, Identity: true, Doc: "Owner name: absolute, or relative to the zone; \"@\" is the zone."},
			"type":    {Type: cty.String, Required: true, Identity: true, Doc: "Record type, such as \"MX\"."},
			"ttl":     {Type: cty.Number, Doc: "TTL of the set in seconds. Without it the TTL is left as it is."},
			"records": {Type: cty.Set(cty.String), Required: true, Doc: "The records: \"10 mail.example.com.\" for MX; for TXT the text itself, unquoted, however long."},
			"exclusive": {Type: cty.Bool, Default: cty.False,
				Doc: "The whole set is ours: a record that is not in records is a difference and is removed."},
			"cached_until": {Type: cty.String, Computed: true,
				Doc: "The latest moment (RFC 3339) at which a resolver that obeys TTLs may still hold a set that was replaced."},
			"ttl_served": {Type: cty.Number, Computed: true, Doc: "The highest TTL with which any authoritative server serves the set."},
			"others":     {Type: cty.Set(cty.String), Computed: true, Doc: "Members of the set that are not ours."},
			"servers": {Type: cty.Map(cty.String), Computed: true,
				Doc: "What each authoritative server answers, by address: \"ok\" where it is what the host holds."},
		},
	}
}

// rrsetValue is an object of type dns_rrset.
type rrsetValue struct {
	Name        string            `cty:"name"`
	Type        string            `cty:"type"`
	TTL         *int64            `cty:"ttl"`
	Records     []string          `cty:"records"`
	Exclusive   bool              `cty:"exclusive"`
	CachedUntil *string           `cty:"cached_until"`
	TTLServed   *int64            `cty:"ttl_served"`
	Others      []string          `cty:"others"`
	Servers     map[string]string `cty:"servers"`
}

// rrsets is the resource type dns_rrset on one System.
type rrsets struct{ system *System }

var (
	_ providers.TypedResource[rrsetValue] = (*rrsets)(nil)
	_ providers.Normalizer                = (*rrsets)(nil)
	_ providers.Stepper                   = (*rrsets)(nil)
)

// Normalize implements [providers.Normalizer].
func (r *rrsets) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[rrsetValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	if err := v.normalize(r.system.host.Zone()); err != nil {
		return cty.NilVal, err
	}
	return providers.Encode(rrsetSchema(), v)
}

// normalize brings name, type and records into normal form.
func (v *rrsetValue) normalize(zone string) error {
	var err error
	if v.Name, err = Absolute(v.Name, zone); err != nil {
		return err
	}
	if v.Type, err = NormalType(v.Type); err != nil {
		return err
	}
	// RFC 2181 section 8.
	if v.TTL != nil && (*v.TTL < 0 || *v.TTL > 1<<31-1) {
		return fmt.Errorf("ttl %d is not between 0 and 2147483647 seconds", *v.TTL)
	}
	set, err := v.set(zone)
	if err != nil {
		return err
	}
	if !set.Exists() {
		return fmt.Errorf("records is empty; to remove what is ours, let the resource end with lifecycle { until = … }")
	}
	v.Records = set.Texts()
	return nil
}

// set returns the records as a set.
func (v *rrsetValue) set(zone string) (RRset, error) {
	set := RRset{Name: v.Name, Type: v.Type, TTL: defaultTTL}
	if v.TTL != nil {
		set.TTL = uint32(*v.TTL)
	}
	for _, text := range v.Records {
		record, err := NewRecord(v.Type, text, zone)
		if err != nil {
			return RRset{}, err
		}
		set.add(record)
	}
	set.sort()
	return set, nil
}

// defaultTTL is the TTL of a new set whose configuration names none.
const defaultTTL = 3600

// Observe implements [providers.TypedResource].
func (r *rrsets) Observe(ctx context.Context, desired, last *rrsetValue) (*rrsetValue, error) {
	named := desired
	if named == nil {
		named = last
	}
	if named == nil {
		// Nothing was wanted and nothing was begun, so nothing is ours.
		return nil, nil
	}
	name, err := Absolute(named.Name, r.system.host.Zone())
	if err != nil {
		return nil, err
	}
	v, err := r.system.look(ctx, name, strings.ToUpper(named.Type))
	if err != nil {
		return nil, err
	}
	if err := v.unreachable(); err != nil {
		return nil, err
	}
	return describe(v, desired, last), nil
}

// describe tells a view as an object: what the host holds, unless that is as
// desired and a server still answers something else; then what that server
// answers. So an object is as desired when every server answers so. It is nil
// where no member is ours; but where members share the traffic, those of others
// must be seen before the first of ours is put beside them.
func describe(v view, desired, last *rrsetValue) *rrsetValue {
	o := owner(desired, last)
	shown := v.head
	if o.satisfied(shown, desired) {
		for _, set := range v.sets() {
			if !o.satisfied(set, desired) {
				shown = set
				break
			}
		}
	}
	ours, others := o.divide(shown)
	if len(ours) == 0 && !(routes(shown.Type) && len(others) > 0 && desired != nil) {
		return nil
	}
	ttl, served := int64(shown.TTL), int64(v.head.TTL)
	for _, set := range v.sets() {
		served = max(served, int64(set.TTL))
	}
	until := last.past(v).cachedUntil(v.at, v.head, v.sets())
	return &rrsetValue{
		Name: shown.Name, Type: shown.Type, TTL: &ttl, Records: ours, Exclusive: o.exclusive,
		CachedUntil: formatTime(until), TTLServed: &served, Others: others, Servers: v.servers(),
	}
}

// past returns what v says about an earlier look.
func (v *rrsetValue) past(now view) past {
	if v == nil || v.CachedUntil == nil {
		return firstLook(now.at, now.head)
	}
	p := past{settled: len(v.Servers) > 0}
	p.until, _ = time.Parse(time.RFC3339, *v.CachedUntil)
	if v.TTLServed != nil {
		p.served = uint32(*v.TTLServed)
	}
	if v.TTL != nil {
		p.print = print(uint32(*v.TTL), append(slices.Clone(v.Others), printables(v.Records)...))
	}
	for text := range maps.Values(v.Servers) {
		p.settled = p.settled && text == answerOK
	}
	return p
}

// fingerprint identifies a set's content and TTL.
func fingerprint(set RRset) string {
	return print(set.TTL, printables(set.Texts()))
}

func print(ttl uint32, texts []string) string {
	return strconv.FormatUint(uint64(ttl), 10) + "\n" + strings.Join(keys(texts), "\n")
}

func printables(texts []string) []string {
	out := make([]string, 0, len(texts))
	for _, text := range texts {
		out = append(out, printable(key(text)))
	}
	return out
}

// keys returns the texts' keys in order, each once.
func keys(texts []string) []string {
	out := make([]string, 0, len(texts))
	for _, text := range texts {
		out = append(out, key(text))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func formatTime(t time.Time) *string {
	text := wholeSecond(t.UTC()).Format(time.RFC3339)
	return &text
}
