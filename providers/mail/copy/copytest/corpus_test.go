package copytest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func TestCorpusIsReadAsItWasFilled(t *testing.T) {
	for _, test := range []struct {
		name    string
		start   func(t testing.TB) *Server
		options CorpusOptions
	}{
		{"Dovecot Maildir", func(t testing.TB) *Server { return Dovecot(t, Maildir, Options{}) }, CorpusOptions{Seed: 1, Messages: 300, Large: 1, Odd: true, Lossy: true, Empty: true}},
		{"Dovecot mdbox", func(t testing.TB) *Server { return Dovecot(t, MDBox, Options{}) }, CorpusOptions{Seed: 2, Messages: 300, Large: 1, Odd: true}},
		{"Cyrus", func(t testing.TB) *Server { return Cyrus(t, Options{}) }, CorpusOptions{Seed: 3, Messages: 300, Large: 1, Odd: true, Strict: true}},
		{"Courier", func(t testing.TB) *Server { return Courier(t, Options{}) }, CorpusOptions{Seed: 4, Messages: 300, Large: 1, Odd: true, Strict: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := test.start(t)
			corpus := NewCorpus(test.options)
			Fill(t, s, s.Users[0], corpus)
			if diff := Diff(corpus.Content(), Read(t, s, s.Users[0])); diff != "" {
				t.Errorf("what was filled in is not what is read:\n%s", diff)
			}
		})
	}
}

// A corpus is added to what is there, also where something has gone meanwhile.
func TestFillAdds(t *testing.T) {
	s := Dovecot(t, Maildir, Options{})
	first, second := threeMessages(), NewCorpus(CorpusOptions{Seed: 9, Messages: 30})
	first.Mailboxes = first.Mailboxes[:1]
	Fill(t, s, s.Users[0], first)
	client := s.Login(t, s.Users[0])
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := client.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	Fill(t, s, s.Users[0], second)
	want := *second
	want.Mailboxes[0].Messages = append(first.Mailboxes[0].Messages[1:], want.Mailboxes[0].Messages...)
	if diff := Diff(want.Content(), Read(t, s, s.Users[0])); diff != "" {
		t.Errorf("after two corpora and an expunge:\n%s", diff)
	}
}

func TestCorpusIsTheSameBySeed(t *testing.T) {
	options := CorpusOptions{Seed: 7, Messages: 100, Odd: true, Lossy: true}
	if !reflect.DeepEqual(NewCorpus(options), NewCorpus(options)) {
		t.Error("the same options made another corpus")
	}
	other := options
	other.Seed++
	if Diff(NewCorpus(options).Content(), NewCorpus(other).Content()) == "" {
		t.Error("another seed made the same corpus")
	}
}

func TestCorpusHasTheSizeAskedFor(t *testing.T) {
	for _, test := range []struct {
		options  CorpusOptions
		messages int
		octets   int64
	}{
		{CorpusOptions{Messages: 500, Bytes: 13_000_000}, 500, 13_000_000},
		{CorpusOptions{Messages: 2000}, 2000, 1_400_000},
		{CorpusOptions{Messages: 10, Large: 2}, 12, 2*LargeSize + 7000},
	} {
		corpus := NewCorpus(test.options)
		messages, octets := corpus.Size()
		if messages != test.messages || octets < test.octets*8/10 || octets > test.octets*12/10 {
			t.Errorf("%+v makes %d messages of %d octets, want %d of about %d", test.options, messages, octets, test.messages, test.octets)
		}
	}
	corpus := NewCorpus(CorpusOptions{Messages: 100, OneBox: true})
	if got := len(corpus.Mailboxes[0].Messages); got != 100 {
		t.Errorf("the one mailbox has %d messages, want 100", got)
	}
}

// What [CorpusOptions.Lossy] says of Dovecot: if a later one keeps these, nobody needs to leave them out.
func TestDovecotAppendKeepsNeitherFutureNorFinalCR(t *testing.T) {
	s := Dovecot(t, MDBox, Options{})
	corpus := NewCorpus(CorpusOptions{Lossy: true})
	Fill(t, s, s.Users[0], corpus)
	got := strings.Split(Diff(corpus.Content(), Read(t, s, s.Users[0])), "\n")
	// Each of the four is missing, and stands there otherwise.
	if len(got) != 8 {
		t.Errorf("want four messages changed, got\n%s", strings.Join(got, "\n"))
	}
}

// Whatever is changed in an account by hand, the judge sees it.
func TestDiffFindsWhatWasPlanted(t *testing.T) {
	corpus := func() *Corpus { return NewCorpus(CorpusOptions{Seed: 3, Messages: 20, Odd: true}) }
	want := corpus().Content()
	if diff := Diff(want, corpus().Content()); diff != "" {
		t.Fatalf("two equal corpora differ:\n%s", diff)
	}
	inbox := func(c *Corpus) *[]Message { return &c.Mailboxes[0].Messages }
	for name, plant := range map[string]func(c *Corpus){
		"a message lost":    func(c *Corpus) { *inbox(c) = (*inbox(c))[1:] },
		"a message twice":   func(c *Corpus) { *inbox(c) = append(*inbox(c), (*inbox(c))[0]) },
		"one octet changed": func(c *Corpus) { (*inbox(c))[3].Body[40] ^= 1 },
		"a flag more":       func(c *Corpus) { m := &(*inbox(c))[2]; m.Flags = append(m.Flags, "planted") },
		"all flags lost":    func(c *Corpus) { (*inbox(c))[len(*inbox(c))-8].Flags = nil },
		"another date":      func(c *Corpus) { m := &(*inbox(c))[2]; m.Date = m.Date.Add(time.Second) },
		"in another mailbox": func(c *Corpus) {
			c.Mailboxes[1].Messages, *inbox(c) = append(c.Mailboxes[1].Messages, (*inbox(c))[0]), (*inbox(c))[1:]
		},
		"an empty mailbox":     func(c *Corpus) { c.Mailboxes = append(c.Mailboxes, Mailbox{Path: []string{"new"}}) },
		"a mailbox lost":       func(c *Corpus) { c.Mailboxes = c.Mailboxes[:len(c.Mailboxes)-1] },
		"a name changed":       func(c *Corpus) { c.Mailboxes[1].Path = []string{"sent"} },
		"a subscription more":  func(c *Corpus) { c.Mailboxes[2].Subscribed = !c.Mailboxes[2].Subscribed },
		"a subscription lost":  func(c *Corpus) { c.Subscribed = c.Subscribed[1:] },
		"a slash, not a level": func(c *Corpus) { c.Mailboxes[2].Path = []string{"Archive", "2019/Q1"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := corpus()
			plant(c)
			if Diff(want, c.Content()) == "" {
				t.Error("no difference was found")
			}
			if Diff(c.Content(), want) == "" {
				t.Error("no difference was found the other way")
			}
		})
	}
}
