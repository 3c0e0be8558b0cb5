package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
)

// TestVariablePrecedence adds sources of a value in the order in which they win.
func TestVariablePrecedence(t *testing.T) {
	const root = `-- main.mm.hcl --
variable "v" { default = "default" }
output "v" { value = var.v }
`
	extra := filepath.Join(t.TempDir(), "extra.mmvars.hcl")
	later := filepath.Join(t.TempDir(), "later.mmvars.hcl")
	for path, text := range map[string]string{extra: `v = "var-file"`, later: `v = "later var-file"`} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, options := "", Options{}
	for _, step := range []struct {
		want string
		add  func()
	}{
		{"default", func() {}},
		{"environment", func() {
			options.Environ = []string{"PATH=/bin", "MAILMOVE_VAR_v=environment", "MAILMOVE_VAR_unknown=x"}
		}},
		{"defaults file", func() { files += "-- mailmove.mmvars.hcl --\nv = \"defaults file\"\n" }},
		{"auto a", func() { files += "-- a.auto.mmvars.hcl --\nv = \"auto a\"\n" }},
		{"auto b", func() { files += "-- b.auto.mmvars.hcl --\nv = \"auto b\"\n" }},
		{"var-file", func() { options.VarFiles = []string{extra} }},
		{"later var-file", func() { options.VarFiles = []string{extra, later} }},
		{"option", func() { options.Vars = []string{"v=option"} }},
		{"later=option", func() { options.Vars = []string{"v=option", "v=later=option"} }},
	} {
		step.add()
		c := must(t, root+files, func(o *Options) {
			o.Vars, o.VarFiles, o.Environ = options.Vars, options.VarFiles, options.Environ
		})
		if got := outputOf(t, c, "v"); !got.RawEquals(cty.StringVal(step.want)) {
			t.Errorf("got %#v, want %q", got, step.want)
		}
	}
}

func outputOf(t *testing.T, c *Config, name string) cty.Value {
	t.Helper()
	outputs, diags := c.Outputs(nil, nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, o := range outputs {
		if o.Name == name {
			return o.Value
		}
	}
	t.Fatalf("there is no output %q", name)
	return cty.NilVal
}

func TestVariableValues(t *testing.T) {
	object := func(quota int64, aliases ...string) cty.Value {
		list := cty.ListValEmpty(cty.String)
		if len(aliases) > 0 {
			var all []cty.Value
			for _, a := range aliases {
				all = append(all, cty.StringVal(a))
			}
			list = cty.ListVal(all)
		}
		return cty.ObjectVal(map[string]cty.Value{"quota": cty.NumberIntVal(quota), "aliases": list})
	}
	for _, test := range []struct {
		name, declaration, given string
		want                     cty.Value
		wantError                string
	}{
		{name: "string", declaration: "type = string", given: `a "b" = c`, want: cty.StringVal(`a "b" = c`)},
		{name: "number", declaration: "type = number", given: "12.5", want: cty.NumberFloatVal(12.5)},
		{name: "bool", declaration: "type = bool", given: "true", want: cty.True},
		{name: "any", declaration: "", given: "[1]", want: cty.StringVal("[1]")},
		{name: "list", declaration: "type = list(string)", given: `["a", 1]`, want: cty.ListVal([]cty.Value{cty.StringVal("a"), cty.StringVal("1")})},
		{
			name:        "map of objects with defaults",
			declaration: "type = map(object({ quota = optional(number, 5), aliases = optional(list(string), []) }))",
			given:       `{ a = {}, b = { quota = 7, aliases = ["x"] } }`,
			want:        cty.MapVal(map[string]cty.Value{"a": object(5), "b": object(7, "x")}),
		},
		{
			name:        "default with inner defaults",
			declaration: "type = object({ ttl = optional(object({ normal = optional(number, 60) }), {}) })\n default = {}",
			want:        cty.ObjectVal(map[string]cty.Value{"ttl": cty.ObjectVal(map[string]cty.Value{"normal": cty.NumberIntVal(60)})}),
		},
		{name: "tuple", declaration: "type = tuple([string, number])", given: `["a", "1"]`, want: cty.TupleVal([]cty.Value{cty.StringVal("a"), cty.NumberIntVal(1)})},
		{name: "null", declaration: "type = list(string)\n default = []", given: "null", want: cty.NullVal(cty.List(cty.String))},
		{name: "null for a default", declaration: "type = list(string)\n default = []\n nullable = false", given: "null", want: cty.ListValEmpty(cty.String)},
		{name: "null without a default", declaration: "type = list(string)\n nullable = false", given: "null", wantError: `Variable "v" must not be null`},
		{name: "no expression", declaration: "type = list(string)", given: "[", wantError: "Missing expression"},
		{name: "no constant", declaration: "type = list(string)", given: "[var.x]", wantError: "Variables not allowed"},
		{name: "not a number", declaration: "type = number", given: "x", wantError: `Variable "v", declared at main.mm.hcl:1, from -var: a number is required`},
		{name: "deep", declaration: "type = map(object({ quota = number }))", given: `{ "a b" = { quota = "x" } }`, wantError: `["a b"].quota: a number is required`},
		{name: "attribute missing", declaration: "type = object({ quota = number })", given: `{}`, wantError: `attribute "quota" is required`},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := "-- main.mm.hcl --\nvariable \"v\" {\n" + test.declaration + "\n}\noutput \"v\" { value = var.v }\n"
			c, diags := open(t, text, func(o *Options) {
				if test.given != "" {
					o.Vars = []string{"v=" + test.given}
				}
			})
			if test.wantError != "" {
				if !diags.HasErrors() || !strings.Contains(diags.Error(), test.wantError) {
					t.Errorf("got %v, want %q", diags, test.wantError)
				}
				return
			}
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got := outputOf(t, c, "v"); !got.RawEquals(test.want) {
				t.Errorf("got %#v, want %#v", got, test.want)
			}
		})
	}
}

func TestSecretVariable(t *testing.T) {
	const text = `-- main.mm.hcl --
variable "key" { type = secret }
provider "shelf" "a" {
  address = "198.51.100.10"
  key     = var.key
}
`
	for _, given := range []string{`env:KEY`, `secret("env:KEY")`} {
		c := must(t, text, func(o *Options) { o.Vars = []string{"key=" + given} })
		if got := canonical(c.Providers()[0].Config); !strings.Contains(got, `"key":secret(env:KEY)`) {
			t.Errorf("%s: got %s", given, got)
		}
	}
	if _, diags := open(t, text, func(o *Options) { o.Vars = []string{"key=swordfish"} }); !diags.HasErrors() {
		t.Error("a secret in the clear is accepted")
	}
}

func TestOptionErrors(t *testing.T) {
	const text = "-- main.mm.hcl --\nvariable \"domain\" { default = \"x\" }\n"
	for _, test := range []struct {
		name, want string
		options    func(*Options)
	}{
		{"no equals sign", `"domain" has no equals sign`, func(o *Options) { o.Vars = []string{"domain"} }},
		{"no such variable", `Did you mean "domain"?`, func(o *Options) { o.Vars = []string{"doman=x"} }},
		{"no such file", "nowhere.hcl: no such file", func(o *Options) { o.VarFiles = []string{"nowhere.hcl"} }},
		{"no such folder", "no such file", func(o *Options) { o.Dir = filepath.Join(o.Dir, "nowhere") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, diags := open(t, text, test.options)
			if !diags.HasErrors() || !strings.Contains(diags.Error(), test.want) {
				t.Errorf("got %v, want %q", diags, test.want)
			}
		})
	}
}

// TestSensitiveStaysHidden looks for a sensitive value in everything that is said
// about configurations that misuse it.
func TestSensitiveStaysHidden(t *testing.T) {
	for _, use := range []string{
		`output "o" { value = var.pin }`,
		`locals { x = jsondecode(var.pin) }` + "\n" + `output "o" { value = local.x }`,
		`output "o" { value = formatdate("YYYY", var.pin) }`,
		`output "o" { value = timeadd(var.pin, "1h") }`,
		`output "o" { value = { a = 1 }[var.pin] }`,
		`output "o" { value = regex("[", var.pin) }`,
		`output "o" { value = var.pin.x }`,
		`output "o" { value = parseint(var.pin, 10) }`,
		`output "o" { value = file(var.pin) }`,
		`output "o" { value = secret(var.pin) }`,
		`output "o" { value = nonsensitive(var.pin) + 1 }`,
		`phase "a" {
  gate "g" { not_before = var.pin }
}`,
		`phase "a" {
  title = var.pin
}`,
		`variable "w" {
  default = 1
  validation {
    condition     = var.w == var.pin
    error_message = "w is not ${var.pin}"
  }
}`,
	} {
		text := "-- main.mm.hcl --\nvariable \"pin\" { sensitive = true }\n" + use + "\n-- x.auto.mmvars.hcl --\npin = \"swordfish\"\n"
		_, diags := open(t, text)
		if !diags.HasErrors() {
			t.Errorf("%s: no error", use)
		}
		var b strings.Builder
		if err := diags.WriteTo(&b, false, 0); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "swordfish") {
			t.Errorf("%s: the value is shown:\n%s", use, b.String())
		}
	}
}
