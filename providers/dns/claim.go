package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/zclconf/go-cty/cty"
)

// claimSchema is the type dns_claim.
func claimSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "The migration's mark in the zone: a TXT record at _mailmove that refuses an operator whose state is out of date. Lists the records that name the old server.",
		Attributes: providers.Attributes{
			"watch":   {Type: cty.Set(cty.String), Doc: "Names and addresses of the old server. Every record that holds one must be declared or ignored."},
			"ignore":  {Type: cty.Set(cty.String), Doc: "Records that may go on naming the old server: \"NAME TYPE\"."},
			"name":    {Type: cty.String, Computed: true, Doc: "The mark's name."},
			"lineage": {Type: cty.String, Computed: true, Doc: "The migration that holds the zone."},
			"epoch":   {Type: cty.Number, Computed: true, Doc: "The turn that wrote the mark last."},
			"listing": {Type: cty.String, Computed: true, Doc: "\"zone\" where the whole zone is searched for watch, \"names\" where only the names that mail uses are."},
		},
	}
}

// claimValue is an object of type dns_claim.
type claimValue struct {
	Watch   []string `cty:"watch"`
	Ignore  []string `cty:"ignore"`
	Name    *string  `cty:"name"`
	Lineage *string  `cty:"lineage"`
	Epoch   *int64   `cty:"epoch"`
	Listing *string  `cty:"listing"`
}

// claims is the resource type dns_claim on one System.
type claims struct{ system *System }

var (
	_ providers.TypedResource[claimValue] = (*claims)(nil)
	_ providers.Normalizer                = (*claims)(nil)
	_ providers.Stepper                   = (*claims)(nil)
	_ providers.Lister                    = (*claims)(nil)
)

// claimTTL is short: nobody but us reads the mark, and we ask no cache.
const claimTTL = 60

// A mark is one migration's member of the TXT set at _mailmove.
type mark struct {
	lineage string
	epoch   providers.Epoch
}

func (m mark) String() string {
	return "lineage=" + m.lineage + " epoch=" + strconv.FormatInt(m.epoch.Number, 10) + " holder=" + m.epoch.Holder
}

// newMark keeps the holder to what a TXT record shows as it is.
func newMark(lineage string, epoch providers.Epoch) mark {
	holder := []rune(printable(epoch.Holder))
	epoch.Holder = key(string(holder[:min(len(holder), 100)]))
	return mark{lineage: lineage, epoch: epoch}
}

// parseMark reads a mark; others may keep other TXT records at the name.
func parseMark(text string) (mark, bool) {
	rest, ok := strings.CutPrefix(text, "lineage=")
	if !ok {
		return mark{}, false
	}
	lineage, rest, ok := strings.Cut(rest, " epoch=")
	if !ok {
		return mark{}, false
	}
	number, holder, _ := strings.Cut(rest, " holder=")
	epoch, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return mark{}, false
	}
	return mark{lineage: lineage, epoch: providers.Epoch{Number: epoch, Holder: holder}}, true
}

func (s *System) claimName() string { return "_mailmove." + s.host.Zone() }

// marks reads the set at _mailmove, this migration's mark in it, and a mark of
// another migration.
func (s *System) marks(ctx context.Context) (set RRset, ours, other *mark, err error) {
	set, err = s.host.Get(ctx, s.claimName(), "TXT")
	if err != nil {
		return set, nil, nil, fmt.Errorf("reading the mark %s: %w", s.claimName(), err)
	}
	for _, record := range set.Records {
		m, ok := parseMark(record.Text)
		switch {
		case !ok:
		case m.lineage == s.env.Lineage:
			// A set with two marks of ours cannot come from us; the later one counts.
			if ours == nil || m.epoch.Number > ours.epoch.Number {
				ours = &m
			}
		default:
			other = &m
		}
	}
	return set, ours, other, nil
}

// claimAttempts bounds how often Claim tries again when the mark changes under it.
const claimAttempts = 5

// Claim implements [providers.Fencer]. The mark is raised by compare-and-swap;
// from then on every update carries the set at _mailmove as a condition, so that
// an update of an operator who was overtaken is refused by the host itself.
func (s *System) Claim(ctx context.Context, epoch providers.Epoch) error {
	epoch = newMark(s.env.Lineage, epoch).epoch
	var err error
	for range claimAttempts {
		var set RRset
		var ours *mark
		if set, ours, _, err = s.marks(ctx); err != nil {
			return err
		}
		if ours == nil || ours.epoch == epoch {
			s.remember(epoch)
			return nil
		}
		if ours.epoch.Number >= epoch.Number {
			return &providers.StaleError{System: s.host.Zone(), Ours: epoch, Theirs: ours.epoch}
		}
		edit := Edit{Expected: set, Wanted: remark(set, s.env.Lineage, &epoch)}
		var outcome providers.Outcome
		outcome, err = s.host.Replace(ctx, []Edit{edit})
		var conflict *Conflict
		if outcome == providers.NotApplied && !errors.As(err, &conflict) {
			return fmt.Errorf("claiming %s: %w", s.host.Zone(), err)
		}
		// Applied, lost or overtaken: what the zone holds now decides.
	}
	return fmt.Errorf("claiming %s: the mark %s changes all the time: %w", s.host.Zone(), s.claimName(), err)
}

func (s *System) remember(epoch providers.Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = &epoch
}

func (s *System) claimed() *providers.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// remark returns set with the mark of lineage set to epoch, or without it if
// epoch is nil. Other members stay.
func remark(set RRset, lineage string, epoch *providers.Epoch) RRset {
	out := RRset{Name: set.Name, Type: set.Type, TTL: set.TTL}
	for _, record := range set.Records {
		if m, ok := parseMark(record.Text); !ok || m.lineage != lineage {
			out.add(record)
		}
	}
	if !set.Exists() {
		out.TTL = claimTTL
	}
	if epoch != nil {
		text := newMark(lineage, *epoch).String()
		out.add(Record{Text: text, Raw: quoteTXT(text)})
	}
	out.sort()
	return out
}

// fence returns the condition that every update carries: the set at _mailmove as
// it is, with our mark in it. There is none before the first claim, nor while the
// zone holds no mark of this migration.
func (s *System) fence(ctx context.Context) ([]Edit, error) {
	epoch := s.claimed()
	if epoch == nil {
		return nil, nil
	}
	set, ours, _, err := s.marks(ctx)
	if err != nil || ours == nil {
		return nil, err
	}
	if ours.epoch != *epoch {
		return nil, &providers.StaleError{System: s.host.Zone(), Ours: *epoch, Theirs: ours.epoch}
	}
	return []Edit{{Expected: set, Wanted: set}}, nil
}

// Normalize implements [providers.Normalizer].
func (c *claims) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[claimValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	zone := c.system.host.Zone()
	for i, text := range v.Watch {
		w, err := newWatch(text, zone)
		if err != nil {
			return cty.NilVal, fmt.Errorf("watch: %w", err)
		}
		v.Watch[i] = w.String()
	}
	for i, text := range v.Ignore {
		if v.Ignore[i], err = normalIgnore(text, zone); err != nil {
			return cty.NilVal, fmt.Errorf("ignore: %w", err)
		}
	}
	return providers.Encode(claimSchema(), v)
}

// Steps implements [providers.Stepper].
func (c *claims) Steps(providers.Change) []string { return []string{stepUpdate} }

// Observe implements [providers.TypedResource].
func (c *claims) Observe(ctx context.Context, desired, last *claimValue) (*claimValue, error) {
	_, ours, other, err := c.system.marks(ctx)
	switch {
	case err != nil:
		return nil, err
	case ours == nil && other != nil && desired != nil:
		return nil, c.held(*other)
	case ours == nil:
		return nil, nil
	}
	return c.value(*ours, desired, last), nil
}

// value describes the claim; what to watch is not kept in the zone.
func (c *claims) value(m mark, desired, last *claimValue) *claimValue {
	name, listing := c.system.claimName(), c.listing()
	v := &claimValue{Name: &name, Lineage: &m.lineage, Epoch: &m.epoch.Number, Listing: &listing}
	for _, from := range []*claimValue{desired, last} {
		if from != nil {
			v.Watch, v.Ignore = from.Watch, from.Ignore
			break
		}
	}
	return v
}

// held says that the zone is another migration's.
func (c *claims) held(other mark) error {
	return providers.Faultf(
		"Let that migration end first. If it was given up, remove its TXT record by hand.",
		"marking the zone: another migration holds %s: %s says %s", c.system.host.Zone(), c.system.claimName(), printable(other.String()))
}

// Apply implements [providers.TypedResource].
func (c *claims) Apply(ctx context.Context, change providers.TypedChange[claimValue], log providers.TypedLog[claimValue]) (providers.Outcome, *claimValue, error) {
	if change.Action == providers.Forget {
		return providers.Applied, nil, nil
	}
	if err := log.Step(stepUpdate); err != nil {
		return providers.NotApplied, nil, err
	}
	set, ours, other, err := c.system.marks(ctx)
	if err != nil {
		return providers.NotApplied, nil, err
	}
	var epoch *providers.Epoch
	if change.After != nil {
		if epoch = c.system.claimed(); epoch == nil {
			return providers.NotApplied, nil, errors.New("marking the zone: the turn has claimed no epoch")
		}
		if ours == nil && other != nil {
			return providers.NotApplied, nil, c.held(*other)
		}
	}
	if edit := (Edit{Expected: set, Wanted: remark(set, c.system.env.Lineage, epoch)}); edit.changes() {
		if outcome, err := c.system.replace(ctx, edit); outcome != providers.Applied {
			return outcome, nil, err
		}
	}
	if epoch == nil {
		return providers.Applied, nil, nil
	}
	return providers.Applied, c.value(newMark(c.system.env.Lineage, *epoch), change.After, change.Last), nil
}

// normalIgnore returns "NAME TYPE" in normal form.
func normalIgnore(text, zone string) (string, error) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return "", fmt.Errorf("%q: want a name and a type, such as \"www.example.com. A\"", text)
	}
	name, err := Absolute(fields[0], zone)
	if err != nil {
		return "", err
	}
	typ, err := NormalType(fields[1])
	if err != nil {
		return "", err
	}
	return name + " " + typ, nil
}

func (v *claimValue) ignores(set RRset) bool { return slices.Contains(v.Ignore, set.Name+" "+set.Type) }
