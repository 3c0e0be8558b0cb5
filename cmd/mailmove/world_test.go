package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mailmove/mailmove/providers/dns/zoneserver"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

type worldKey struct{}

// world is what a script moves: servers on loopback that end with the script.
type world struct {
	zone    *zoneserver.Server
	servers map[string]*server.Server
	// unlock gives a lock back that lock-state took.
	unlock func() error
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func (w *world) close() error {
	var errs []error
	if w.unlock != nil {
		errs = append(errs, w.unlock())
	}
	for _, s := range w.servers {
		s.Stop()
	}
	if w.zone != nil {
		errs = append(errs, w.zone.Close())
	}
	return errors.Join(errs...)
}

const tsigSecret = "bWFpbG1vdmUtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ=="

// zone NAME FILE [signed] serves a zone file. The variable zone_server of the
// configuration and $ZONE_SERVER become its address. With signed it wants the TSIG
// key "mailmove", whose secret is in $TSIG.
func scriptZone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: zone NAME FILE [signed]")
	}
	w := worldOf(ts)
	config := zoneserver.Config{Zones: map[string]string{miekg.CanonicalName(args[0]): ts.ReadFile(args[1])}}
	if len(args) > 2 {
		config.Keys = map[string]string{"mailmove.": tsigSecret}
		ts.Setenv("TSIG", tsigSecret)
	}
	if w.zone != nil { // as after a restart: another zone at the same address
		config.Address = w.zone.Address()
		ts.Check(w.zone.Close())
	}
	server, err := zoneserver.Start(config)
	ts.Check(err)
	w.zone = server
	ts.Setenv("ZONE_SERVER", server.Address())
	ts.Setenv("MAILMOVE_VAR_zone_server", server.Address())
}

// zone-fault refuse | lose-answer | lose-update | slow DURATION | none makes the
// zone's server misbehave.
func scriptZoneFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: zone-fault refuse|lose-answer|lose-update|slow DURATION|none")
	}
	var faults zoneserver.Faults
	switch args[0] {
	case "refuse":
		faults.Refuse = true
	case "lose-answer":
		faults.LoseAnswer = 1
	case "lose-update":
		faults.LoseUpdate = 1
	case "slow":
		delay, err := time.ParseDuration(args[1])
		ts.Check(err)
		faults.Delay = delay
	case "none":
	default:
		ts.Fatalf("no fault %q", args[0])
	}
	worldOf(ts).zone.SetFaults(faults)
}

// record NAME TYPE TTL [VALUE…] sets a record set by hand, as somebody else would,
// with values without quotes; without values the set is removed.
func scriptRecord(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: record NAME TYPE TTL [VALUE...]")
	}
	name, typ := miekg.Fqdn(args[0]), args[1]
	header := miekg.RR_Header{Name: name, Rrtype: miekg.StringToType[typ], Class: miekg.ClassINET}
	update := new(miekg.Msg)
	update.SetUpdate(zoneOf(name))
	update.RemoveRRset([]miekg.RR{&miekg.ANY{Hdr: header}})
	for _, value := range args[3:] {
		rr, err := miekg.NewRR(strings.Join([]string{name, args[2], "IN", typ, value}, " "))
		ts.Check(err)
		update.Insert([]miekg.RR{rr})
	}
	answer := exchange(ts, update)
	if answer.Rcode != miekg.RcodeSuccess {
		ts.Fatalf("the zone's server answers %s", miekg.RcodeToString[answer.Rcode])
	}
}

// lookup NAME TYPE [TTL] [VALUE…] checks what the zone's server serves; "-" for TTL
// is any. Without values there must be none.
func scriptLookup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: lookup NAME TYPE [TTL VALUE...]")
	}
	question := new(miekg.Msg)
	question.SetQuestion(miekg.Fqdn(args[0]), miekg.StringToType[args[1]])
	var got, want []string
	for _, rr := range exchange(ts, question).Answer {
		if rr.Header().Rrtype != miekg.StringToType[args[1]] {
			continue
		}
		value := strings.TrimPrefix(rr.String(), rr.Header().String())
		if len(args) > 2 && args[2] != "-" {
			value = strconv.FormatUint(uint64(rr.Header().Ttl), 10) + " " + value
		}
		got = append(got, value)
	}
	for _, value := range args[min(3, len(args)):] {
		if args[2] != "-" {
			value = args[2] + " " + value
		}
		want = append(want, value)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("%s %s is %q, want %q", args[0], args[1], got, want)
	}
}

func zoneOf(name string) string {
	labels := miekg.SplitDomainName(name)
	return miekg.Fqdn(strings.Join(labels[max(0, len(labels)-2):], "."))
}

// exchange asks the zone's server, signed if it wants that.
func exchange(ts *testscript.TestScript, m *miekg.Msg) *miekg.Msg {
	client := &miekg.Client{Net: "tcp", Timeout: 20 * time.Second}
	if ts.Getenv("TSIG") != "" {
		client.TsigSecret = map[string]string{"mailmove.": tsigSecret}
		m.SetTsig("mailmove.", miekg.HmacSHA256, 300, time.Now().Unix())
	}
	answer, _, err := client.Exchange(m, worldOf(ts).zone.Address())
	ts.Check(err)
	return answer
}

// watcher is where a program writes, and says when a pattern was seen.
type watcher struct {
	pattern string
	found   chan struct{}

	mu      sync.Mutex
	written strings.Builder
	done    bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written.Write(p)
	if !w.done && strings.Contains(w.written.String(), w.pattern) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}

func (w *watcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written.String()
}

// findProgram finds a program in the script's PATH.
func findProgram(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	ts.Check(errors.New("there is no program " + name))
	return ""
}

// environ returns the variables that a script may have set.
func environ(ts *testscript.TestScript) []string {
	var list []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "NO_COLOR", "TZ", "TSIG", "TOKEN", "MAILMOVE_VAR_zone_server", "MAILMOVE_VAR_old", "MAILMOVE_VAR_new"} {
		list = append(list, name+"="+ts.Getenv(name))
	}
	return list
}
