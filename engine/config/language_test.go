package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

func TestFunctions(t *testing.T) {
	for expression, want := range map[string]string{
		`abs(-1)`: "1", `ceil(1.2)`: "2", `floor(1.8)`: "1", `max(1, 3)`: "3", `min(1, 3)`: "1", `sum([1, 2.5])`: "3.5",
		`alltrue([])`: "true", `alltrue([true, false])`: "false", `anytrue([])`: "false", `anytrue([false, true])`: "true",
		`alltrue([true, null])`: "false",
		`coalesce(null, "a")`:   `"a"`, `compact(["a", "", "b"])`: `["a","b"]`, `concat(["a"], ["b"])`: `["a","b"]`,
		`contains(["a"], "a")`: "true", `distinct(["a", "a"])`: `["a"]`, `element(["a", "b"], 3)`: `"b"`,
		`flatten([["a"], [["b"]]])`: `["a","b"]`, `keys({ b = 1, a = 2 })`: `["a","b"]`, `values({ b = 1, a = 2 })`: "[2,1]",
		`length("äö")`: "2", `length([1, 2])`: "2", `length({ a = 1 })`: "1",
		`lookup({ a = 1 }, "a", 0)`: "1", `lookup({ a = 1 }, "b", 0)`: "0", `lookup(tomap({ a = "x" }), "b", "y")`: `"y"`,
		`merge({ a = 1 }, { b = 2 })`: `{"a":1,"b":2}`, `one([])`: "null", `one(["a"])`: `"a"`, `one(toset(["a"]))`: `"a"`,
		`range(3)`: "[0,1,2]", `range(3, 1)`: "[3,2]", `range(0, 10, 4)`: "[0,4,8]", `range(2, 2)`: "[]",
		`reverse(["a", "b"])`: `["b","a"]`, `sort(["b", "a"])`: `["a","b"]`, `slice(["a", "b"], 1, 2)`: `["b"]`,
		`setproduct(["a"], ["b", "c"])`: `[["a","b"],["a","c"]]`, `setunion(["a"], ["b"])`: `["a","b"]`,
		`setintersection(["a", "b"], ["b"])`: `["b"]`, `setsubtract(["a", "b"], ["b"])`: `["a"]`,
		`zipmap(["a"], [1])`: `{"a":1}`, `chunklist(["a", "b", "c"], 2)`: `[["a","b"],["c"]]`,
		`toset(["b", "a", "b"])`: `["a","b"]`, `tolist(toset(["b", "a"]))`: `["a","b"]`, `tomap({ a = 1 })`: `{"a":1}`,
		`tostring(1)`: `"1"`, `tonumber("1")`: "1", `tobool("true")`: "true", `tostring(null)`: "null",
		`try(tonumber("x"), 7)`: "7", `can(tonumber("x"))`: "false",
		`format("%s-%03d", "a", 7)`: `"a-007"`, `formatlist("%s!", ["a", "b"])`: `["a!","b!"]`,
		`formatdate("DD.MM.YYYY", "2026-01-31T00:00:00Z")`: `"31.01.2026"`, `timeadd("2026-01-31T00:00:00Z", "1h")`: `"2026-01-31T01:00:00Z"`,
		`join(",", ["a", "b"])`: `"a,b"`, `split(",", "a,b")`: `["a","b"]`, `lower("A")`: `"a"`, `upper("a")`: `"A"`, `title("ab")`: `"Ab"`,
		`trim("xax", "x")`: `"a"`, `trimprefix("xa", "x")`: `"a"`, `trimsuffix("ax", "x")`: `"a"`, `trimspace(" a ")`: `"a"`, `chomp("a\n")`: `"a"`,
		`replace("aba", "a", "x")`: `"xbx"`, `replace("a1", "/[0-9]/", "x")`: `"ax"`, `regex("[0-9]+", "a12")`: `"12"`, `regexall("[0-9]", "a12")`: `["1","2"]`,
		`startswith("abc", "ab")`: "true", `endswith("abc", "ab")`: "false", `strcontains("abc", "b")`: "true", `substr("abc", 1, 1)`: `"b"`,
		`jsonencode({ a = [1] })`: `"{\"a\":[1]}"`, `jsondecode("[1]")`: "[1]",
		`sha256("")`:                                `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`,
		`nonsensitive(sensitive("a"))`:              `"a"`,
		`file("note.txt")`:                          "\"a note\\n\"",
		`reached(phase.one)`:                        "true",
		`reached(phase.two)`:                        "false",
		`"%{ for x in ["a", "b"] }${x}%{ endfor }"`: `"ab"`,
	} {
		t.Run(expression, func(t *testing.T) {
			text := "-- note.txt --\na note\n-- main.mm.hcl --\nphase \"one\" {}\nphase \"two\" { after = phase.one }\noutput \"o\" { value = " + expression + " }\n"
			c := must(t, text)
			outputs, diags := c.Outputs(plan.Position{"": "one"}, nil)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got := canonical(outputs[0].Value); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestFunctionBounds(t *testing.T) {
	for _, expression := range []string{
		"range(100001)", "range(0, 1, 0.000001)", "range(0, 10, -1)", "range(1, 2, 0)",
		"setproduct(range(1000), range(1000))", "setproduct(range(1000), range(1000), range(1000), range(1000))",
	} {
		_, diags := open(t, "-- main.mm.hcl --\noutput \"o\" { value = length("+expression+") }\n")
		if !diags.HasErrors() {
			t.Errorf("%s: no error", expression)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"phase \"a\" {}", "mailmove.state.json"},
		{"mailmove {\n  state { path = \"x/y.json\" }\n}", "x/y.json"},
		{"mailmove {\n  state { path = \"/x/y.json\" }\n}", "/x/y.json"},
	} {
		var dir string
		c := must(t, "-- main.mm.hcl --\n"+test.text+"\n", func(o *Options) { dir = o.Dir })
		want := test.want
		if !filepath.IsAbs(want) {
			want = filepath.Join(dir, want)
		}
		if got := c.StatePath(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for version, ok := range map[string]bool{"0.1.0": true, "v0.2.0-rc1": true, "": true, "dev": true, "0.0.9": false, "1.0.0": false} {
		_, diags := open(t, "-- main.mm.hcl --\nmailmove { required_version = \">= 0.1, < 1.0\" }\n", func(o *Options) { o.Version = version })
		if diags.HasErrors() == ok {
			t.Errorf("version %q is accepted: %v, want %v", version, !ok, ok)
		}
	}
}

// TestDigest changes one thing at a time.
func TestDigest(t *testing.T) {
	const base = `-- main.mm.hcl --
variable "v" { default = "1" }
variable "pin" {
  default   = "swordfish"
  sensitive = true
}
provider "shelf" "a" {
  address = "198.51.100.10"
}
resource "box" "b" { name = chomp(file("name.txt")) }
module "m" {
  source = "./m"
}
-- m/main.mm.hcl --
locals { a = 1 }
-- name.txt --
box
`
	digest := func(text string, change ...func(*Options)) string { return must(t, text, change...).Digest() }
	want := digest(base)
	for name, same := range map[string]string{
		"again":                   digest(base),
		"another file":            digest(base + "-- readme.md --\nx\n"),
		"the same value":          digest(base, func(o *Options) { o.Vars = []string{"v=1"} }),
		"another sensitive value": digest(base, func(o *Options) { o.Vars = []string{"pin=tuna"} }),
	} {
		if same != want {
			t.Errorf("%s: another digest", name)
		}
	}
	for name, other := range map[string]string{
		"a comment":     digest(strings.Replace(base, "locals", "# x\nlocals", 1)),
		"a value":       digest(base, func(o *Options) { o.Vars = []string{"v=2"} }),
		"a file read":   digest(strings.Replace(base, "\nbox\n", "\nbax\n", 1)),
		"a file more":   digest(base + "-- more.mm.hcl --\n"),
		"a file's name": digest(strings.Replace(base, "-- m/main", "-- m/mayn", 1)),
		"a secret":      digest(strings.Replace(base, "\"198.51.100.10\"", "\"198.51.100.10\"\nkey = secret(\"env:A\")\n", 1)),
	} {
		if other == want {
			t.Errorf("%s: the same digest", name)
		}
	}
}

func TestMoves(t *testing.T) {
	c := must(t, `-- main.mm.hcl --
module "m" {
  source   = "./m"
  for_each = toset(["k"])
}
moved {
  from = module.old
  to   = module.m["k"]
}
-- m/main.mm.hcl --
phase "new" {}
moved {
  from = phase.old
  to   = phase.new
}
moved {
  from = box.old
  to   = box.new
}
moved {
  from = box.one["a"]
  to   = box.one["b"]
}
`)
	want := []Move{
		{Kind: MoveModule, From: "module.old", To: `module.m["k"]`, Where: "main.mm.hcl:5"},
		{Kind: MovePhase, Clock: `module.m["k"]`, From: "old", To: "new", Where: "m/main.mm.hcl:2"},
		{Kind: MoveResource, From: `module.m["k"].box.old`, To: `module.m["k"].box.new`, Where: "m/main.mm.hcl:6"},
		{Kind: MoveResource, From: `module.m["k"].box.one["a"]`, To: `module.m["k"].box.one["b"]`, Where: "m/main.mm.hcl:10"},
	}
	got := c.Moves()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	for _, test := range []struct {
		move          Move
		address, want string
	}{
		{want[0], "module.old", `module.m["k"]`},
		{want[0], `module.old.box.x["y"]`, `module.m["k"].box.x["y"]`},
		{want[0], `module.older.box.x`, ""},
		{want[2], `module.m["k"].box.old["x"]`, `module.m["k"].box.new["x"]`},
		{want[2], `module.m["k"].box.older`, ""},
		{want[3], `module.m["k"].box.one["a"]`, `module.m["k"].box.one["b"]`},
		{want[3], `module.m["k"].box.one["ab"]`, ""},
		{want[1], "old", ""},
	} {
		got, ok := test.move.Apply(test.address)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%s: got %q %v, want %q", test.address, got, ok, test.want)
		}
	}
}

// TestDesiredIsPure asks for all positions of two clocks, in several orders and
// at once, and compares with a configuration that was asked for nothing before.
func TestDesiredIsPure(t *testing.T) {
	text := archive(t, "waves")
	var positions []plan.Position
	for _, root := range []string{"", "before", "after"} {
		for _, one := range []string{"", "copy", "moved"} {
			for _, two := range []string{"", "copy", "moved"} {
				positions = append(positions, plan.Position{"": root, `module.wave["one"]`: one, `module.wave["two"]`: two})
			}
		}
	}
	show := func(c *Config, at plan.Position) string {
		worlds, diags := c.Desired(at)
		return fmt.Sprintf("%#v %v", worlds, diags)
	}
	used := must(t, text)
	var wait sync.WaitGroup
	for i := range positions {
		wait.Go(func() { show(used, positions[len(positions)-1-i]) })
	}
	wait.Wait()
	for _, at := range positions {
		if got, want := show(used, at), show(must(t, text), at); got != want {
			t.Errorf("%v (-fresh +used)\n%s", at, cmp.Diff(want, got))
		}
	}
}

func TestFormat(t *testing.T) {
	got, diags := Format("x.mm.hcl", []byte("phase   \"a\" {\ntitle=\"x\"\n  after    = phase.b\n}\n"))
	want := "phase \"a\" {\n  title = \"x\"\n  after = phase.b\n}\n"
	if diags != nil || string(got) != want {
		t.Errorf("got %q %v, want %q", got, diags, want)
	}
	if again, _ := Format("x.mm.hcl", got); !bytes.Equal(again, got) {
		t.Errorf("formatted twice it is %q", again)
	}
	broken := []byte("phase \"a\" {")
	if got, diags := Format("x.mm.hcl", broken); !diags.HasErrors() || !bytes.Equal(got, broken) || diags[0].Subject.File != "x.mm.hcl" {
		t.Errorf("got %q %v, want the text as it was and an error", got, diags)
	}
}

func TestBlock(t *testing.T) {
	schema := testSchemas()["shelf"].Resources
	for _, test := range []struct {
		typ    string
		values map[string]cty.Value
		want   string
	}{
		{"box", map[string]cty.Value{
			"name": cty.StringVal("a${b}\"\n"), "size": cty.NumberIntVal(10), "used": cty.NumberIntVal(3),
			"labels": cty.ListVal([]cty.Value{cty.StringVal("x")}),
		}, `resource "box" "b" {
  provider = provider.shelf.a
  labels   = ["x"]
  name     = "a$${b}\"\n"
}
`},
		{"box_copy", map[string]cty.Value{
			"name": cty.StringVal("x"), "to": cty.StringVal("provider.shelf.b"),
			"limits": cty.ObjectVal(map[string]cty.Value{"rate": cty.NumberIntVal(3), "burst": cty.NumberIntVal(1)}),
		}, `resource "box_copy" "b" {
  provider = provider.shelf.a
  limits {
    rate = 3
  }
  name = "x"
  to   = provider.shelf.b
}
`},
	} {
		got := string(Block(test.typ, "b", "provider.shelf.a", schema[test.typ], seen(test.typ, test.values)))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		c := must(t, "-- main.mm.hcl --\nprovider \"shelf\" \"a\" { address = \"x\" }\nprovider \"shelf\" \"b\" { address = \"y\" }\n"+got)
		worlds, diags := c.Desired(nil)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for name, attr := range schema[test.typ].Attributes {
			want := test.values[name]
			if attr.Computed || want == cty.NilVal {
				continue
			}
			if got := worlds[""][0].Values.GetAttr(name); !got.RawEquals(want) {
				t.Errorf("%s: read back it is %#v, want %#v", name, got, want)
			}
		}
	}
	secret, err := providers.NewSecret("env:X")
	if err != nil {
		t.Fatal(err)
	}
	got := string(Block("box", "b", "", schema["box"], seen("box", map[string]cty.Value{"pass": providers.SecretVal(secret)})))
	if want := "resource \"box\" \"b\" {\n  pass = secret(\"env:X\")\n}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBlockName(t *testing.T) {
	for name, want := range map[string]string{"murphy": "murphy", "john.doe+x@example.com": "john_doe_x_example_com", "7up": "x7up", "": "x", "\"\n${": "____"} {
		got := string(Block("box", name, "", providers.ResourceSchema{}, cty.EmptyObjectVal))
		if want := "resource \"box\" \"" + want + "\" {\n}\n"; got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// TestReading bounds what is read, and where.
func TestReading(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("swordfish"), 0o600); err != nil {
		t.Fatal(err)
	}
	const root = "-- main.mm.hcl --\noutput \"o\" { value = file(\"%s\") }\n-- inner/text --\ntext\n"
	link := func(name string) func(*Options) {
		return func(o *Options) {
			if err := os.Symlink(secret, filepath.Join(o.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	large := func(name string) func(*Options) {
		return func(o *Options) {
			if err := os.WriteFile(filepath.Join(o.Dir, name), bytes.Repeat([]byte("#\n"), maxFile/2+1), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name, path, want string
		change           func(*Options)
	}{
		{name: "below", path: "inner/text"},
		{name: "back again", path: "inner/../inner/text"},
		{name: "link outside", path: "link", change: link("link"), want: "path escapes"},
		{name: "folder", path: "inner", want: "not a regular file"},
		{name: "not text", path: "binary", want: "not UTF-8", change: func(o *Options) {
			if err := os.WriteFile(filepath.Join(o.Dir, "binary"), []byte("\xff\xfe"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "large text", path: "large", change: large("large"), want: "larger than 4 MiB"},
		{name: "large configuration", path: "inner/text", change: large("large.mm.hcl"), want: "larger than 4 MiB"},
		{name: "large variables", path: "inner/text", change: large("large.auto.mmvars.hcl"), want: "larger than 4 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, diags := open(t, fmt.Sprintf(root, test.path), func(o *Options) {
				if test.change != nil {
					test.change(o)
				}
			})
			switch {
			case test.want == "" && diags.HasErrors():
				t.Error(diags)
			case test.want != "" && !strings.Contains(diags.Error(), test.want):
				t.Errorf("got %v, want %q", diags, test.want)
			}
		})
	}
	c := must(t, "-- main.mm.hcl --\nmodule \"m\" { source = \"std/one\" }\noutput \"o\" { value = module.m.o }\n-- std/one/main.mm.hcl --\nmodule \"n\" { source = \"../two\" }\noutput \"o\" { value = module.n.o }\n-- std/two/main.mm.hcl --\noutput \"o\" { value = file(\"text\") }\n-- std/two/text --\ntext\n")
	if got, want := outputOf(t, c, "o"), cty.StringVal("text\n"); !got.RawEquals(want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	if _, diags := open(t, "-- main.mm.hcl --\nmodule \"m\" { source = \"std/one\" }\n-- std/one/main.mm.hcl --\nmodule \"n\" { source = \"../../two\" }\n"); !strings.Contains(diags.Error(), "leads out of the embedded recipes") {
		t.Errorf("got %v", diags)
	}
}

// TestWriteTo looks at colours, and at what a terminal would obey.
func TestWriteTo(t *testing.T) {
	diags := Diagnostics{{
		Severity: Warning, Summary: "Odd \x1b[2J", Detail: "A \u202e, a \u009b, a \r and a \t.\n\n    kept as it is although it is long",
		Subject: Range{File: "a\nb", Line: 3}, Block: "x", Snippet: []Line{{Number: 3, Text: "ab\x07cd", Start: 1, End: 4}}, Values: []string{"v is \"\x00\""},
	}}
	var b strings.Builder
	if err := diags.WriteTo(&b, false, 40); err != nil {
		t.Fatal(err)
	}
	want := `╷
│ Warning: Odd \u001B[2J
│
│   on a\u000Ab line 3, in x:
│    3: ab\u0007cd
│     ├────────────────
│     │ v is "\u0000"
│
│ A \u202E, a \u009B, a \u000D and a   .
│
│     kept as it is although it is long
╵
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	b.Reset()
	if err := diags.WriteTo(&b, true, 0); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "a\x1b[4mb\\u0007c\x1b[0md") || strings.Count(got, "\x1b[2J") != 0 {
		t.Errorf("got %q", got)
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"variable", "local", "a"}
	for given, want := range map[string]string{"varable": "variable", "lcoal": "local", "b": "", "": "", "nothing": "", "provider": ""} {
		got := didYouMean(given, known)
		if want != "" {
			want = fmt.Sprintf(" Did you mean %q?", want)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}
