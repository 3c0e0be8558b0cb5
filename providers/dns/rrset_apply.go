package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mailmove/mailmove/providers"
)

const (
	stepUpdate = "update the zone"
	stepWait   = "wait for every authoritative server"
)

// Steps implements [providers.Stepper].
func (r *rrsets) Steps(providers.Change) []string { return []string{stepUpdate, stepWait} }

type (
	rrsetChange = providers.TypedChange[rrsetValue]
	rrsetLog    = providers.TypedLog[rrsetValue]
)

// Apply implements [providers.TypedResource]. The set is replaced in one
// compare-and-swap; then every authoritative server is asked until it answers
// the new one.
func (r *rrsets) Apply(ctx context.Context, change rrsetChange, log rrsetLog) (providers.Outcome, *rrsetValue, error) {
	switch change.Action {
	case providers.Forget:
		return providers.Applied, nil, nil
	case providers.Adopt:
		v, err := r.Observe(ctx, change.After, change.Last)
		if err != nil {
			return providers.NotApplied, nil, err
		}
		return providers.Applied, v, nil
	}
	if err := log.Step(stepUpdate); err != nil {
		return providers.NotApplied, nil, err
	}
	edit, err := r.edit(ctx, change)
	if err != nil {
		return providers.NotApplied, nil, err
	}
	record, err := r.begin(ctx, change, edit.Expected)
	if err != nil {
		return providers.NotApplied, nil, err
	}
	if edit.changes() {
		if err := log.Checkpoint(*record); err != nil {
			return providers.NotApplied, nil, err
		}
		if outcome, err := r.system.replace(ctx, edit); outcome != providers.Applied {
			return outcome, nil, err
		}
	}
	// Without a change to make, an earlier attempt made it and a server lags.
	if err := log.Step(stepWait); err != nil {
		return providers.Partial, nil, err
	}
	return r.wait(ctx, change, record, log)
}

// edit returns the swap that the change asks for, from the set as it is now. It
// is an error if what is ours is no longer as the change was planned from.
func (r *rrsets) edit(ctx context.Context, change rrsetChange) (Edit, error) {
	named := change.After
	if named == nil {
		named = change.Before
	}
	if named == nil {
		return Edit{}, fmt.Errorf("changing %s: neither what it is nor what it shall be is known", change.Address)
	}
	head, err := r.system.host.Get(ctx, named.Name, named.Type)
	if err != nil {
		return Edit{}, fmt.Errorf("reading %s %s: %w", named.Name, named.Type, err)
	}
	wanted, err := r.merge(head, change)
	if err != nil {
		return Edit{}, err
	}
	edit := Edit{Expected: head, Wanted: wanted}
	if !edit.changes() {
		return edit, nil
	}
	if err := planned(head, change); err != nil {
		return Edit{}, err
	}
	return edit, r.permitted(ctx, edit, change)
}

// merge returns head with our members exchanged; the others stay exactly as they are.
func (r *rrsets) merge(head RRset, change rrsetChange) (RRset, error) {
	wanted := RRset{Name: head.Name, Type: head.Type, TTL: head.TTL}
	var after RRset
	if change.After != nil {
		var err error
		if after, err = change.After.set(r.system.host.Zone()); err != nil {
			return RRset{}, err
		}
		if change.After.TTL != nil || !head.Exists() {
			wanted.TTL = after.TTL
		}
	}
	o := owner(change.After, change.Before, change.Last)
	for _, record := range head.Records {
		if !o.owns(record.Text) || after.Has(record.Text) {
			wanted.add(record)
		}
	}
	for _, record := range after.Records {
		wanted.add(record)
	}
	wanted.sort()
	return wanted, nil
}

// planned returns a [*Conflict] if what is ours in head is not as the change was
// planned from: the plan was made for another world.
func planned(head RRset, change rrsetChange) error {
	o := owner(change.After, change.Before, change.Last)
	ours, _ := o.divide(head)
	var before []string
	sameTTL := true
	if change.Before != nil {
		before = change.Before.Records
		sameTTL = change.Before.TTL == nil || !head.Exists() || *change.Before.TTL == int64(head.TTL)
	}
	if sameTTL && slices.Equal(keys(ours), keys(before)) {
		return nil
	}
	expected := RRset{Name: head.Name, Type: head.Type}
	if change.Before != nil && change.Before.TTL != nil {
		expected.TTL = uint32(*change.Before.TTL)
	}
	for _, text := range before {
		expected.add(Record{Text: text})
	}
	return &Conflict{Expected: expected, Found: head}
}

// permitted refuses what must not be written.
func (r *rrsets) permitted(ctx context.Context, edit Edit, change rrsetChange) error {
	name, typ := edit.Wanted.Name, edit.Wanted.Type
	apex := name == r.system.host.Zone()
	if typ == "MX" && edit.Expected.Exists() {
		// RFC 5321 section 5.1: without MX, mail goes to the name's own address.
		if !edit.Wanted.Exists() && (apex || change.Action != providers.Remove) {
			return providers.Faultf("Keep at least one record in records.", "updating %s MX: no record would be left, and senders would turn to the name's own address", name)
		}
		if !r.system.host.Capabilities().Atomic {
			return providers.Faultf("Change the MX by hand in one step at the host's own console, then run the command again.",
				"updating %s MX: this DNS host cannot replace it in one step, and a moment without MX loses mail", name)
		}
	}
	if typ != "CNAME" && edit.Wanted.Exists() && !edit.Expected.Exists() {
		// RFC 1034 section 3.6.2; servers ignore such an addition silently
		// (RFC 2136 section 3.4.2.2).
		alias, err := r.system.host.Get(ctx, name, "CNAME")
		if err != nil {
			return fmt.Errorf("reading %s CNAME: %w", name, err)
		}
		if alias.Exists() {
			return providers.Faultf("Remove the CNAME, or give the record another name.", "creating %s %s: the name is an alias (%v), and an alias has no other records", name, typ, alias)
		}
	}
	return nil
}

// begin returns what is recorded before the first effect: both the old and the
// new members are ours, and from now on resolvers may hold what will have been
// replaced.
func (r *rrsets) begin(ctx context.Context, change rrsetChange, head RRset) (*rrsetValue, error) {
	servers, err := r.system.authority.servers(ctx)
	if err != nil {
		return nil, err
	}
	served := int64(head.TTL)
	if !head.Exists() {
		negative, err := r.system.authority.negativeTTL(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the zone's SOA: %w", err)
		}
		served = int64(negative)
	}
	record := &rrsetValue{Name: head.Name, Type: head.Type, Servers: map[string]string{}}
	now := r.system.now()
	until := now
	ttl := int64(head.TTL)
	record.TTL = &ttl
	for _, v := range []*rrsetValue{change.Before, change.Last, change.After} {
		if v == nil {
			continue
		}
		record.Records = append(record.Records, v.Records...)
		record.Exclusive = v.Exclusive
		if v.TTLServed != nil {
			served = max(served, *v.TTLServed)
		}
		if v.CachedUntil != nil {
			if t, err := time.Parse(time.RFC3339, *v.CachedUntil); err == nil && t.After(until) {
				until = t
			}
		}
	}
	record.Records = keys(record.Records)
	_, record.Others = owner(record).divide(head)
	record.TTLServed = &served
	if t := now.Add(time.Duration(served) * time.Second); t.After(until) {
		until = t
	}
	record.CachedUntil = formatTime(until)
	for _, server := range servers {
		record.Servers[server.String()] = "a change is under way"
	}
	return record, nil
}

// wait asks every authoritative server until all answer what the host holds.
func (r *rrsets) wait(ctx context.Context, change rrsetChange, record *rrsetValue, log rrsetLog) (providers.Outcome, *rrsetValue, error) {
	named := change.After
	if named == nil {
		named = change.Before
	}
	o := owner(change.After, change.Before, change.Last)
	var unfinished error
	for pause := range r.system.pauses() {
		v, err := r.system.look(ctx, named.Name, named.Type)
		if err != nil {
			unfinished = fmt.Errorf("waiting for every authoritative server: %w", err)
			if r.system.sleep(ctx, pause) != nil {
				break
			}
			continue
		}
		log.Progress(int64(v.same()), int64(len(v.answers)), "servers")
		if !o.satisfied(v.head, change.After) {
			return providers.Partial, nil, fmt.Errorf("waiting for every server: %w", &Conflict{Expected: RRset{Name: v.head.Name, Type: v.head.Type, Records: recordsOf(change.After)}, Found: v.head})
		}
		if v.same() == len(v.answers) {
			return providers.Applied, describe(v, change.After, record), nil
		}
		unfinished = lagging(v)
		if r.system.sleep(ctx, pause) != nil {
			break
		}
	}
	return providers.Partial, nil, unfinished
}

func recordsOf(v *rrsetValue) []Record {
	var records []Record
	if v != nil {
		for _, text := range v.Records {
			records = append(records, Record{Text: text})
		}
	}
	return records
}

// lagging says which servers do not answer the new set yet.
func lagging(v view) error {
	var errs []error
	for _, a := range v.answers {
		switch {
		case a.err != nil:
			errs = append(errs, a.err)
		case !a.set.Same(v.head):
			errs = append(errs, fmt.Errorf("%v (%s) still answers: %v", a.server, a.server.Name, a.set))
		}
	}
	return &providers.Fault{
		Err:   fmt.Errorf("waiting for every authoritative server of %s %s: %w", v.head.Name, v.head.Type, errors.Join(errs...)),
		Next:  "The zone is changed; run the command again to go on waiting. If a server stays behind, look at its zone transfers.",
		Retry: true,
	}
}
