package view

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

var update = flag.Bool("update", false, "write the golden files")

func box(name, home, note string) cty.Value {
	return cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(name), "home": cty.StringVal(home), "note": cty.StringVal(note),
		"members": cty.ListVal([]cty.Value{cty.StringVal("a"), cty.StringVal("b"), cty.StringVal("c"), cty.StringVal(note)}),
	})
}

func update1(key, before, after string) plan.Change {
	return plan.Change{
		Address: "module.m.box.b[\"" + key + "\"]", Type: "box", Provider: "provider.p.x", Action: providers.Update,
		Before: plan.NewValue(box(key, before, "n")), After: plan.NewValue(box(key, after, "n")), Differs: []string{"home"},
		Steps: []string{"hold", "copy", "commit"}, Estimate: plan.Estimate{Bytes: 5 << 20, Messages: 1200, Duration: 90 * time.Second},
	}
}

// journey is a plan with all that a view can show.
func journey() *plan.Plan {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var handed []plan.Change
	for _, key := range []string{"anna", "bob", "carl", "dora", "emil", "fritz", "gerd", "hanna", "ida"} {
		handed = append(handed, update1(key, "old", "new"))
	}
	create := func(key, note string) plan.Change {
		return plan.Change{Address: "module.m.box.c[\"" + key + "\"]", Type: "box", Provider: "provider.p.x", Action: providers.Create, After: plan.NewValue(box(key, "new", note)), Recurring: true}
	}
	list := plan.Change{
		Address: "module.m.box.list", Type: "box", Provider: "provider.p.x", Action: providers.Update, Differs: []string{"members", "note"},
		Before: plan.NewValue(box("l", "new", "d")), After: plan.NewValue(box("l", "new", "a very long note that does not fit on the line beside what was there before, so that both get lines")),
	}
	gone := plan.Change{Address: "module.m.box.staging", Type: "box", Provider: "provider.p.x", Action: providers.Remove, Before: plan.NewValue(box("s", "new", "x"))}
	kept := plan.Change{Address: "module.m.box.kept", Type: "box", Provider: "provider.p.x", Action: providers.Forget, Before: plan.NewValue(box("k", "new", "x"))}
	return &plan.Plan{
		FormatVersion: plan.FormatVersion, Mailmove: "1.2.3", Lineage: "lineage", Serial: 7, Config: "config", Created: at, Expires: at.Add(24 * time.Hour),
		Clocks: []plan.ClockPlan{{Path: "module.m", From: "prepare", Stages: []plan.StagePlan{
			{Phase: "prepare", Entered: true, Changes: []plan.Change{create("x", "1"), create("y", "2"), {Address: "module.m.box.same", Type: "box", Action: providers.Adopt}}},
			{Phase: "cutover", Title: "Hand over", Changes: append(handed, list), Gates: []plan.Gate{
				{Name: "in_sync", Kind: plan.Condition, Text: "alltrue([\n  for b in box : b.behind <= 20\n])", Title: "close behind"},
				{Name: "ttl", Kind: plan.NotBefore, Text: "local.until"},
			}},
			{Phase: "drain"},
			{Phase: "settle", Title: "Tidy up", NoReturn: true, Changes: []plan.Change{gone, kept}},
		}}},
		Dangers: []plan.Danger{
			{Code: "LOOP", Severity: providers.Fatal, Address: "module.m.box.loop", Summary: "It would turn in a circle.", Fix: "Remove one."},
			{Code: "LARGE", Severity: providers.Warning, Summary: "It is large.", Fix: "Declare it:\n  box \"a\" {}\nor leave it."},
		},
	}
}

func TestGolden(t *testing.T) {
	for name, render := range map[string]func(*bytes.Buffer, *plan.Plan) error{
		"plan.txt":     func(b *bytes.Buffer, p *plan.Plan) error { return Text(b, p, Options{}) },
		"expanded.txt": func(b *bytes.Buffer, p *plan.Plan) error { return Text(b, p, Options{Expand: true}) },
		"coloured.txt": func(b *bytes.Buffer, p *plan.Plan) error { return Text(b, p, Options{Color: true}) },
		"plan.md":      func(b *bytes.Buffer, p *plan.Plan) error { return Markdown(b, p, Options{}) },
		"plan.html":    func(b *bytes.Buffer, p *plan.Plan) error { return HTML(b, p, Options{}) },
		"plan.mermaid": func(b *bytes.Buffer, p *plan.Plan) error { return Mermaid(b, p, Options{}) },
		"back.txt": func(b *bytes.Buffer, p *plan.Plan) error {
			p.Back = true
			p.Dangers = nil
			return Text(b, p, Options{})
		},
		"nothing.txt":  func(b *bytes.Buffer, p *plan.Plan) error { return Text(b, &plan.Plan{}, Options{}) },
		"nothing.md":   func(b *bytes.Buffer, p *plan.Plan) error { return Markdown(b, &plan.Plan{}, Options{}) },
		"nothing.html": func(b *bytes.Buffer, p *plan.Plan) error { return HTML(b, &plan.Plan{}, Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := render(&got, journey()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s is not what it was (-update writes it anew):\n%s", name, diff)
			}
		})
	}
}

// What is shown of a plan does not depend on whether it went through a file.
func TestDecodedPlanLooksTheSame(t *testing.T) {
	p := journey()
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := plan.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	var made, read, written bytes.Buffer
	for out, from := range map[*bytes.Buffer]*plan.Plan{&made: p, &read: decoded} {
		if err := Text(out, from, Options{Expand: true}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(made.String(), read.String()); diff != "" {
		t.Errorf("a decoded plan looks different:\n%s", diff)
	}
	if err := JSON(&written, decoded); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written.Bytes(), data) {
		t.Error("JSON is not the canonical encoding")
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain – ünïcode, 漢字 😀": "plain – ünïcode, 漢字 😀",
		"a\x1b[2Jb":             `a\x1b[2Jb`,
		"a\r\nb\tc":             `a\r\nb\tc`,
		"\u009b31m":             `\u009b31m`,
		"\x7f\x00\x07":          `\x7f\x00\a`,
		"a\u202eb\u2066c":       `a\u202eb\u2066c`,
		"zero\u200bwidth\ufeff": `zero\u200bwidth\ufeff`,
		"soft\u00adhyphen":      `soft\u00adhyphen`,
		"filler\u3164":          `filler\u3164`,
		"line\u2028sep":         `line\u2028sep`,
		"bad\xff\xfeutf8":       `bad\xff\xfeutf8`,
		"tag\U000e0041":         `tag\U000e0041`,
		"no\u00a0break":         `no\u00a0break`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		`plain`:    `"plain"`,
		`a"b\c`:    `"a\"b\\c"`,
		"x\ny":     `"x\ny"`,
		`" → "new`: `"\" → \"new"`,
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestQuantities(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", -time.Second: "0s", 40 * time.Millisecond: "40ms", 1400 * time.Millisecond: "1s", 90 * time.Second: "1m30s",
		time.Hour: "1h", 25*time.Hour + 29*time.Minute: "1d1h", 48 * time.Hour: "2d", 61 * time.Minute: "1h1m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 60: "1024.0 PiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestSplitKey(t *testing.T) {
	for address, want := range map[string][2]string{
		`box.b`:                      {`box.b`, ``},
		`box.b["a"]`:                 {`box.b`, `"a"`},
		`module.m["x"].box.b["a.b"]`: {`module.m["x"].box.b`, `"a.b"`},
		`module.m["x"].box.b`:        {`module.m["x"].box.b`, ``},
		`box.b["a[\"b\"]"]`:          {`box.b`, `"a[\"b\"]"`},
	} {
		if block, key := splitKey(address); block != want[0] || key != want[1] {
			t.Errorf("splitKey(%s) = %s, %s; want %q", address, block, key, want)
		}
	}
}

func TestEventLines(t *testing.T) {
	for _, test := range []struct {
		event Event
		took  time.Duration
		want  string
	}{
		{Event{Type: "begin", Address: `box.b["a"]`, Action: providers.Create}, 0, `box.b["a"]: creating`},
		{Event{Type: "applied", Address: "box.b", Action: providers.Remove}, 70 * time.Second, "box.b: removed after 1m10s"},
		{Event{Type: "progress", Address: "box.b", Done: 1200, Total: 3000, Unit: "messages"}, 0, "box.b: 1,200 of 3,000 messages (40%)"},
		{Event{Type: "progress", Address: "box.b", Done: 2048, Unit: "bytes"}, 0, "box.b: 2.0 KiB"},
		{Event{Type: "failed", Address: "box.b", Text: "box.b: no\nPlan: 0 to create"}, 0, `box.b: stopped: no\nPlan: 0 to create`},
		{Event{Type: "enter", Phase: "settle", Text: "Tidy up"}, 0, "root module enters phase settle: Tidy up"},
		{Event{Type: "enter", Clock: "module.m"}, 0, "module.m enters phase (start)"},
		{Event{Type: "gate", Phase: "cutover", Address: "ttl", Text: "closed: not before noon"}, 0, "gate ttl before cutover: closed: not before noon"},
		{Event{Type: "observing", Total: 1, Phase: "copy", Clock: "module.m"}, 0, "module.m, phase copy: observing 1 object"},
	} {
		got, ok := test.event.Line(false, test.took)
		if !ok || got != test.want {
			t.Errorf("Line(%+v) = %q, %v; want %q", test.event, got, ok, test.want)
		}
	}
	if line, ok := (Event{Type: "of a later version"}).Line(false, 0); ok {
		t.Errorf("an unknown event has the line %q", line)
	}
}

// Whatever a server puts into names, values, gates and errors: no output holds a
// control or format character but the line ends of our own lines.
func FuzzForbiddenCharacters(f *testing.F) {
	f.Add("a\x1b[2J", "b\r\nPlan: 0 to create", "\u202ec")
	f.Add("```\n# x", "<script>alert(1)</script>", "\xff\u009b")
	f.Add(`"]`, `\`, `["`)
	f.Fuzz(func(t *testing.T, key, value, word string) {
		p := journey()
		clock := &p.Clocks[0]
		clock.Path, clock.From, clock.Stages[1].Title, clock.Stages[1].Phase = word, word, value, word
		clock.Stages[1].Gates = []plan.Gate{{Name: word, Kind: plan.GateKind(word), Text: value, Title: key}}
		change := update1(key, "old", cleanUTF8(value))
		change.Steps = []string{word}
		clock.Stages[1].Changes = append(clock.Stages[1].Changes, change)
		p.Dangers = append(p.Dangers, plan.Danger{Code: word, Address: key, Summary: value, Fix: value})
		lines := map[string]int{}
		for name, render := range map[string]func(*bytes.Buffer) error{
			"text":     func(b *bytes.Buffer) error { return Text(b, p, Options{Expand: true}) },
			"folded":   func(b *bytes.Buffer) error { return Text(b, p, Options{}) },
			"markdown": func(b *bytes.Buffer) error { return Markdown(b, p, Options{}) },
			"html":     func(b *bytes.Buffer) error { return HTML(b, p, Options{}) },
			"mermaid":  func(b *bytes.Buffer) error { return Mermaid(b, p, Options{}) },
			"event": func(b *bytes.Buffer) error {
				line, _ := Event{Type: "failed", Address: key, Text: value}.Line(false, 0)
				b.WriteString(line + "\n")
				return nil
			},
		} {
			var out bytes.Buffer
			if err := render(&out); err != nil {
				t.Fatal(err)
			}
			for _, r := range out.String() {
				if r != '\n' && r != ' ' && (!unicode.IsPrint(r) || r == '\uFFFD' && !strings.ContainsRune(key+value+word, r)) {
					t.Errorf("%s holds %U:\n%q", name, r, out.String())
					break
				}
			}
			lines[name] = strings.Count(out.String(), "\n")
			if strings.Contains(strings.ToLower(out.String()), "<script") && (name == "html" || name == "mermaid") {
				t.Errorf("%s holds a script", name)
			}
		}
		if lines["event"] != 1 {
			t.Errorf("an event has %d lines", lines["event"])
		}
	})
}

// cleanUTF8 is what JSON makes of a string, which values go through.
func cleanUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func TestWriteEvent(t *testing.T) {
	var out bytes.Buffer
	if err := WriteEvent(&out, Event{Type: "failed", Address: "box.b", Text: "two\nlines"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("an event has %d lines", got)
	}
	var back Event
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Text != "two\nlines" {
		t.Errorf("read back as %+v, %v", back, err)
	}
}
