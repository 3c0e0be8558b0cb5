package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

// judgeStores compares every account with what is expected of it.
func (r *Report) judgeStores(population *people.Population, before Stores, now map[string]Stores, home string,
	ledger []traffic.Entry, actions []users.Action) {
	byAccount := make(map[string][]users.Action)
	for _, action := range actions {
		byAccount[action.Account] = append(byAccount[action.Account], action)
		if action.Result == users.Done && action.Verb != users.See {
			r.Actions++
		}
	}
	expected := make(map[string]*expectation)
	for address, store := range before {
		expected[address] = expect(store, byAccount[address])
	}
	addTraffic(expected, population, ledger)
	for _, account := range population.Accounts {
		address, at := account.Address(), homeOf(account, home)
		j := &judge{report: r, account: address, before: before[address], expected: expected[address], store: now[at][address]}
		if j.store == nil {
			r.fault(AccountMissing, address, "%s does not know it", at)
			continue
		}
		other := "old"
		if at == "old" {
			other = "new"
		}
		j.elsewhere = now[other][address]
		j.all()
		if account.Home == "" && home == "new" {
			j.source(now["old"][address])
		}
	}
}

// A judge looks at one account.
type judge struct {
	report    *Report
	account   string
	before    *Store
	expected  *expectation
	store     *Store // on the server that is its home
	elsewhere *Store // on the other; nil if that does not know the account
	claimed   map[place]bool
}

func (j *judge) fault(kind Kind, format string, args ...any) {
	j.report.fault(kind, j.account, format, args...)
}

func (j *judge) all() {
	j.claimed = make(map[place]bool)
	j.folders()
	j.places()
	j.strangers()
	j.copies()
	j.files()
	j.settings()
	j.pop3()
}

func (j *judge) folders() {
	for name, validity := range j.expected.validities {
		folder := j.store.Folders[name]
		switch {
		case folder == nil:
			j.fault(FolderMissing, "%s", name)
		case folder.UIDValidity != validity:
			j.fault(UIDValidityChanged, "%s: want %d, got %d", name, validity, folder.UIDValidity)
		}
	}
}

// at returns the message at a place.
func (j *judge) at(p place) (Message, bool) {
	folder := j.store.Folders[p.folder]
	if folder == nil {
		return Message{}, false
	}
	message, found := folder.Messages[p.uid]
	return message, found
}

// places looks for every wanted message where IMAP's clients remember it.
func (j *judge) places() {
	var displaced []place
	for p, w := range j.expected.messages {
		if w.old {
			j.report.Old++
		}
		found, there := j.at(p)
		if there && w.matches(found) {
			j.claimed[p] = true
			j.compare(p, w, found)
			continue
		}
		if !w.optional {
			displaced = append(displaced, p)
		}
	}
	for _, p := range displaced {
		j.displaced(p, j.expected.messages[p])
	}
}

// displaced says what became of a wanted message that is not in its place.
func (j *judge) displaced(p place, w *wanted) {
	found, there := j.at(p)
	if elsewhere, ok := j.find(w); ok {
		j.claimed[elsewhere] = true
		moved, _ := j.at(elsewhere)
		j.compare(elsewhere, w, moved)
		switch {
		case w.anywhere:
		case there && elsewhere.folder == p.folder:
			j.fault(UIDChanged, "%s/%d names another message; its own is now %d", p.folder, p.uid, elsewhere.uid)
		case elsewhere.folder == p.folder:
			j.fault(UIDChanged, "%s/%d is now %d", p.folder, p.uid, elsewhere.uid)
		case w.acted:
			j.fault(ActionLost, "%s/%d lies in %s", p.folder, p.uid, elsewhere.folder)
		default:
			j.fault(Misfiled, "%s/%d lies in %s", p.folder, p.uid, elsewhere.folder)
		}
		return
	}
	_, expectedHere := j.expected.messages[p]
	switch {
	case there && w.old && expectedHere && !j.known(found):
		j.claimed[p] = true
		j.fault(ContentAltered, "%s/%d", p.folder, p.uid)
	case w.acted:
		j.fault(ActionLost, "%s/%d, which a user had in hand, is gone", p.folder, p.uid)
	case w.old:
		j.fault(OldLost, "%s/%d of %s", p.folder, p.uid, w.Date.Format("2006-01-02"))
	default:
		j.fault(UIDChanged, "%s/%d, seen by a client, is gone", p.folder, p.uid)
	}
}

// find looks for a wanted message outside its place, where no other wanted message is at home.
func (j *judge) find(w *wanted) (place, bool) {
	for name, folder := range j.store.Folders {
		for uid, message := range folder.Messages {
			p := place{name, uid}
			if j.claimed[p] || !w.matches(message) {
				continue
			}
			if owner := j.expected.messages[p]; owner != nil && owner.matches(message) {
				continue
			}
			return p, true
		}
	}
	return place{}, false
}

// known reports whether message is one that anybody expects in this account.
func (j *judge) known(message Message) bool {
	if message.Marker != "" {
		return true
	}
	for _, w := range j.expected.messages {
		if w.Digest == message.Digest {
			return true
		}
	}
	return j.expected.expunged[message.Digest] > 0
}

// compare looks whether a message that is there is what it was.
func (j *judge) compare(p place, w *wanted, found Message) {
	for _, flag := range w.Flags {
		if !hasFlag(found.Flags, flag) {
			kind := flagKind(flag)
			if w.acted && !(w.old && hasFlag(j.before.Folders[p.folder].flagsOf(p.uid), flag)) {
				kind = ActionLost
			}
			j.fault(kind, "%s/%d has lost %s", p.folder, p.uid, flag)
		}
	}
	if !w.old {
		return // what filters and clients set on new mail is theirs
	}
	for _, flag := range found.Flags {
		if !hasFlag(w.Flags, flag) && !hasFlag(w.maybe, flag) {
			j.fault(flagKind(flag), "%s/%d has got %s", p.folder, p.uid, flag)
		}
	}
	if !found.Date.Equal(w.Date) {
		j.fault(DateAltered, "%s/%d: want %v, got %v", p.folder, p.uid, w.Date, found.Date)
	}
}

// flagsOf returns the flags of a message, none if it or the folder is not there.
func (f *Folder) flagsOf(uid uint32) []string {
	if f == nil {
		return nil
	}
	return f.Messages[uid].Flags
}

func flagKind(flag string) Kind {
	if strings.HasPrefix(flag, `\`) {
		return FlagsAltered
	}
	return KeywordsAltered
}

// strangers looks at what is there and was not claimed. Mail of the trial is counted by copies.
func (j *judge) strangers() {
	known := make(map[string]bool) // digests of old mail
	for _, folder := range j.before.Folders {
		for _, message := range folder.Messages {
			known[message.Digest] = true
		}
	}
	for name, folder := range j.store.Folders {
		for uid, message := range folder.Messages {
			switch {
			case j.claimed[place{name, uid}] || message.Marker != "":
			case j.expected.expunged[message.Digest] > 0:
				j.fault(ActionLost, "%s/%d was deleted by a user and is back", name, uid)
			case known[message.Digest]:
				j.fault(OldDoubled, "%s/%d", name, uid)
			case strings.Contains(strings.ToUpper(message.From), "MAILER-DAEMON"):
				j.fault(Bounced, "to the user, %s/%d", name, uid)
			default:
				j.fault(Stranger, "%s/%d from %q", name, uid, message.From)
			}
		}
	}
}

// copies counts the mail of the trial.
func (j *judge) copies() {
	found := make(map[string]int)
	for name, folder := range j.store.Folders {
		for uid, message := range folder.Messages {
			if message.Marker == "" {
				continue
			}
			found[message.Marker]++
			if !message.Whole {
				j.fault(ContentAltered, "%s/%d, %s", name, uid, message.Marker)
			}
		}
	}
	for marker := range found {
		j.expected.copiesOf(marker) // so that those nobody expects are looked at, too
	}
	for _, marker := range slices.Sorted(maps.Keys(j.expected.copies)) {
		want, got := *j.expected.copies[marker], found[marker]
		j.report.Pairs += max(0, want.least)
		switch {
		case got < want.least:
			j.fault(Lost, "%s: want %d, got %d%s", marker, want.least, got, j.whereElse(marker))
		case got <= want.most:
		case j.expected.expunged[marker] > 0:
			j.fault(ActionLost, "%s was deleted by a user and is back", marker)
		case want.most == 0:
			j.fault(Misdelivered, "%s: %d copies", marker, got)
		default:
			j.fault(Doubled, "%s: want %d, got %d", marker, want.most, got)
		}
	}
}

// whereElse says whether a lost message lies on the other server.
func (j *judge) whereElse(marker string) string {
	if j.elsewhere != nil {
		for name, folder := range j.elsewhere.Folders {
			for _, message := range folder.Messages {
				if message.Marker == marker {
					return "; it lies on the other server in " + name
				}
			}
		}
	}
	return ""
}

// files compares what IMAP shows with what is on the disk: a file that IMAP does not show comes up some day, with another UID.
func (j *judge) files() {
	shown := make(map[string]int)
	for _, folder := range j.store.Folders {
		for _, message := range folder.Messages {
			shown[message.fileKey()]++
		}
	}
	more, less := 0, 0
	for key, n := range j.store.Files {
		more += max(0, n-shown[key])
	}
	for key, n := range shown {
		less += max(0, n-j.store.Files[key])
	}
	if more+less > 0 {
		j.fault(FilesDiffer, "%d files that IMAP does not show so, %d messages without such a file", more, less)
	}
}

func (j *judge) settings() {
	if !slices.Equal(j.before.Subscriptions, j.store.Subscriptions) {
		j.fault(SubscriptionsChanged, "want %q, got %q", j.before.Subscriptions, j.store.Subscriptions)
	}
	if !maps.Equal(j.before.Scripts, j.store.Scripts) {
		j.fault(SieveChanged, "want scripts %q, got %q", slices.Sorted(maps.Keys(j.before.Scripts)), slices.Sorted(maps.Keys(j.store.Scripts)))
	}
	if j.before.Active != j.store.Active {
		j.fault(SieveChanged, "active: want %q, got %q", j.before.Active, j.store.Active)
	}
}

// pop3 looks whether a client that leaves its mail on the server would download it again.
func (j *judge) pop3() {
	want, got := j.before.uidls(), j.store.uidls()
	if got == nil && j.store.Folders["INBOX"] != nil {
		j.fault(UIDLChanged, "POP3 shows %d messages and IMAP %d", len(j.store.UIDLs), len(j.store.Folders["INBOX"].Messages))
		return
	}
	for uid, id := range want {
		if now, there := got[uid]; there && now != id {
			j.fault(UIDLChanged, "INBOX/%d: want %s, got %s", uid, id, now)
		}
	}
}

// source looks whether the old server still has what it had: a move takes nothing away. What users deleted may be there or not.
func (j *judge) source(old *Store) {
	if old == nil {
		j.fault(SourceTouched, "the old server does not know it any more")
		return
	}
	there := make(map[string]int)
	for key, n := range old.Files {
		digest, _, _ := strings.Cut(key, " ")
		there[digest] += n
	}
	missing := 0
	for _, w := range j.expected.messages {
		if !w.old || w.optional {
			continue
		}
		if there[w.Digest]--; there[w.Digest] < 0 {
			missing++
		}
	}
	if missing > 0 {
		j.fault(SourceTouched, "%d old messages are not on the old server any more", missing)
	}
}

// describe names what a sender was told.
func describe(entry traffic.Entry) string {
	return fmt.Sprintf("%s to %s: %s", entry.Marker, entry.Recipient, strings.ReplaceAll(entry.Reply, "\n", " "))
}
