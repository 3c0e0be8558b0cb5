package demo

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// audit compares what IMAP shows at the home of the accounts with what it must show.
func (d *Demo) audit(ctx context.Context, home *server.Server) (*Report, error) {
	now, err := readStores(ctx, home.IMAPAddr(), d.world.people)
	if err != nil {
		return nil, err
	}
	r := d.judge(now)
	if home == d.world.new {
		d.judgeSource(r)
		if err := d.judgeProxy(ctx, r, now); err != nil {
			return nil, err
		}
	}
	for _, s := range []*server.Server{d.world.old, d.world.new} {
		for _, b := range s.Bounces() {
			r.fault(Bounced, mail.Address(b.To), "%s", b.Reason)
		}
		if n := s.Queued(); n > 0 {
			r.fault(Queued, "", "%d messages at %s", n, s.Endpoint().Name)
		}
	}
	slices.SortFunc(r.Faults, func(a, b Fault) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(string(a.Account), string(b.Account)), strings.Compare(a.Detail, b.Detail))
	})
	r.Took = time.Since(d.begun)
	return r, nil
}

// judge compares what accounts hold with what senders and users were told.
func (d *Demo) judge(now map[mail.Address]*store) *Report {
	r := &Report{}
	byAccount := map[mail.Address][]action{}
	for _, a := range d.diary.actions {
		byAccount[a.account] = append(byAccount[a.account], a)
		if !a.unknown {
			r.Actions++
		}
	}
	promised := d.promised()
	for _, a := range d.world.people.accounts {
		j := &judge{report: r, account: a.address, before: d.before[a.address], now: now[a.address], claimed: map[place]bool{}}
		j.want = expect(j.before, byAccount[a.address], promised[a.address])
		j.all()
	}
	d.judgeLedger(r, now)
	d.judgeLogins(r)
	return r
}

// A judge looks at one account.
type judge struct {
	report  *Report
	account mail.Address
	before  *store
	now     *store
	want    *expectation
	claimed map[place]bool
}

func (j *judge) fault(kind Kind, format string, args ...any) {
	j.report.fault(kind, j.account, format, args...)
}

func (j *judge) all() {
	j.folders()
	j.places()
	j.strangers()
	j.pairs()
}

func (j *judge) folders() {
	for name, f := range j.before.folders {
		switch now := j.now.folders[name]; {
		case now == nil:
			j.fault(FoldersChanged, "%q is missing", name)
		case now.validity != f.validity:
			j.fault(UIDChanged, "UIDVALIDITY of %q: want %d, got %d", name, f.validity, now.validity)
		}
	}
	for name := range j.now.folders {
		if j.before.folders[name] == nil {
			j.fault(FoldersChanged, "%q is new", name)
		}
	}
	if !slices.Equal(j.before.subscribed, j.now.subscribed) {
		j.fault(FoldersChanged, "subscriptions: want %q, got %q", j.before.subscribed, j.now.subscribed)
	}
}

// at returns the message at a place.
func (j *judge) at(p place) (message, bool) {
	f := j.now.folders[p.folder]
	if f == nil {
		return message{}, false
	}
	m, ok := f.messages[p.uid]
	return m, ok
}

// places looks for every wanted message where IMAP's clients remember it.
func (j *judge) places() {
	for _, p := range j.want.contradictions {
		j.fault(UIDChanged, "%s/%d named another message for a while", p.folder, p.uid)
	}
	var displaced []place
	for p, w := range j.want.places {
		if found, ok := j.at(p); ok && found.digest == w.digest {
			j.claimed[p] = true
			j.compare(p, w, found)
		} else if !w.optional {
			displaced = append(displaced, p)
		}
	}
	for _, m := range j.before.folders {
		j.report.Old += len(m.messages)
	}
	for _, p := range displaced {
		j.displaced(p, j.want.places[p])
	}
}

// displaced says what became of a wanted message that is not in its place.
func (j *judge) displaced(p place, w *wanted) {
	if q, ok := j.find(w.digest); ok {
		j.claimed[q] = true
		found, _ := j.at(q)
		j.compare(q, w, found)
		switch {
		case w.anywhere:
		case q.folder == p.folder:
			j.fault(UIDChanged, "%s/%d is now %d", p.folder, p.uid, q.uid)
		case w.acted:
			j.fault(ActionLost, "%s/%d lies in %s", p.folder, p.uid, q.folder)
		default:
			j.fault(OldLost, "%s/%d lies in %s", p.folder, p.uid, q.folder)
		}
		return
	}
	if _, ok := j.at(p); ok && !j.claimed[p] {
		j.claimed[p] = true
		j.fault(ContentAltered, "%s/%d", p.folder, p.uid)
		return
	}
	if w.old && !w.acted {
		j.fault(OldLost, "%s/%d", p.folder, p.uid)
		return
	}
	j.fault(ActionLost, "%s/%d, which a user had in hand, is gone", p.folder, p.uid)
}

// find looks for a message where no wanted one is at home.
func (j *judge) find(digest string) (place, bool) {
	for name, f := range j.now.folders {
		for uid, m := range f.messages {
			p := place{name, uid}
			if owner := j.want.places[p]; m.digest == digest && !j.claimed[p] && (owner == nil || owner.digest != digest) {
				return p, true
			}
		}
	}
	return place{}, false
}

// compare looks whether a message that is there is what it was.
func (j *judge) compare(p place, w *wanted, found message) {
	for _, f := range w.flags {
		switch {
		case slices.Contains(found.flags, f):
		case slices.Contains(w.given, f):
			j.fault(ActionLost, "%s/%d has lost %s", p.folder, p.uid, f)
		default:
			j.fault(FlagsAltered, "%s/%d has lost %s", p.folder, p.uid, f)
		}
	}
	for _, f := range found.flags {
		if !slices.Contains(w.flags, f) && !slices.Contains(w.maybe, f) {
			j.fault(FlagsAltered, "%s/%d has got %s", p.folder, p.uid, f)
		}
	}
	if !found.date.Equal(w.date) {
		j.fault(DateAltered, "%s/%d: want %v, got %v", p.folder, p.uid, w.date, found.date)
	}
}

// strangers looks at what is there and was not wanted. What was sent during the
// demonstration is counted by pairs.
func (j *judge) strangers() {
	known := map[string]bool{}
	for _, w := range j.want.places {
		known[w.digest] = true
	}
	for name, f := range j.now.folders {
		for uid, m := range f.messages {
			switch {
			case j.claimed[place{name, uid}] || m.pair != (pair{}):
			case j.want.extra[m.digest] > 0:
				j.want.extra[m.digest]--
			case j.want.removed[m.digest] > 0:
				j.fault(ActionLost, "%s/%d was removed by a user and is back", name, uid)
			case known[m.digest]:
				j.fault(Doubled, "%s/%d, an old message or a draft", name, uid)
			default:
				j.fault(Stranger, "%s/%d", name, uid)
			}
		}
	}
}

// pairs counts the mail that was sent during the demonstration.
func (j *judge) pairs() {
	got := map[pair]int{}
	for name, f := range j.now.folders {
		for uid, m := range f.messages {
			if m.pair == (pair{}) {
				continue
			}
			got[m.pair]++
			if m.damaged {
				j.fault(ContentAltered, "%s/%d, %s", name, uid, m.pair.marker)
			}
		}
	}
	optional := map[pair]int{}
	for p, w := range j.want.places {
		if _, ok := j.at(p); w.optional && !ok {
			optional[w.pair]++
		}
	}
	for p := range got {
		if _, ok := j.want.pairs[p]; !ok {
			j.fault(Misdelivered, "%s for %s: %d copies", p.marker, p.final, got[p])
		}
	}
	for p, want := range j.want.pairs {
		j.report.Pairs++
		removed := j.want.removedPairs[p]
		switch n := got[p] + removed + optional[p]; {
		case n < want.least:
			j.fault(Lost, "%s for %s", p.marker, p.final)
		case n <= want.most:
			j.report.Once++
		case removed > 0:
			j.fault(ActionLost, "%s for %s was removed by a user and is back", p.marker, p.final)
		default:
			j.fault(Doubled, "%s for %s: %d copies", p.marker, p.final, n)
		}
	}
}

// judgeSource looks whether the old server still has what it had: nothing is ever
// removed there but by users. Its own disk is read, since IMAP leads to the home.
func (d *Demo) judgeSource(r *Report) {
	for account, before := range d.before {
		kept := map[string]int{}
		for _, f := range d.world.old.Folders(account) {
			for _, m := range f.Messages {
				kept[digest(m.Body)]++
			}
		}
		for _, a := range d.diary.actions {
			if a.account == account && a.verb == remove {
				kept[a.message.digest]++
			}
		}
		for name, f := range before.folders {
			for uid, m := range f.messages {
				if kept[m.digest]--; kept[m.digest] < 0 {
					r.fault(SourceTouched, account, "%s/%d", name, uid)
				}
			}
		}
	}
}

// judgeProxy looks whether a user who still goes to the old server sees the home.
func (d *Demo) judgeProxy(ctx context.Context, r *Report, now map[mail.Address]*store) error {
	proxied, err := readStores(ctx, d.world.old.IMAPAddr(), d.world.people)
	if err != nil {
		return err
	}
	for account := range now {
		if !reflect.DeepEqual(now[account], proxied[account]) {
			r.fault(ProxyDiffers, account, "by way of the old server, its user does not see what is on the new one")
		}
	}
	return nil
}

// judgeLedger counts what was sent, and which way.
func (d *Demo) judgeLedger(r *Report, now map[mail.Address]*store) {
	sent, ignored, moved, via := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, t := range d.ledger.transactions {
		sent[t.marker] = true
		if strings.HasPrefix(t.marker, ignoring) {
			ignored[t.marker] = true
			if t.moved {
				moved[t.marker] = true
			}
		}
	}
	note := func(m message) {
		if m.viaOld && ignored[m.pair.marker] {
			via[m.pair.marker] = true
		}
	}
	for _, s := range now {
		for _, f := range s.folders {
			for m := range maps.Values(f.messages) {
				note(m)
			}
		}
	}
	for _, a := range d.diary.actions {
		note(a.message)
	}
	r.Sent, r.Ignoring, r.IgnoringMoved, r.IgnoringViaOld = len(sent), len(ignored), len(moved), len(via)
	r.Deferred = d.ledger.deferred
	for _, text := range d.ledger.refused {
		r.fault(Refused, "", "%s", text)
	}
	for _, marker := range d.ledger.unsent {
		r.fault(Refused, "", "%s was not taken in time", marker)
	}
}

func (d *Demo) judgeLogins(r *Report) {
	for _, a := range d.world.people.accounts {
		row := Logins{Account: a.address}
		for _, l := range d.diary.logins {
			if l.account != a.address {
				continue
			}
			row.Tried++
			row.Slowest = max(row.Slowest, l.took)
			if l.err != nil {
				row.Refused++
				r.fault(LoginRefused, a.address, "%v", l.err)
			}
		}
		r.Logins = append(r.Logins, row)
	}
}
