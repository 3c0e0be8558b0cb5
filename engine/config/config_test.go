package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

type schemas map[string]providers.Schema

func (s schemas) Schema(typ string) (providers.Schema, bool) { v, ok := s[typ]; return v, ok }
func (s schemas) Types() []string                            { return names(s) }

// testSchemas are two kinds: stores, which hold boxes, and zones, which hold
// records.
func testSchemas() schemas {
	store := map[string]providers.ResourceSchema{
		"box": {Attributes: providers.Attributes{
			"name":   {Type: cty.String, Required: true, Identity: true, Doc: "name of the box"},
			"size":   {Type: cty.Number, Default: cty.NumberIntVal(10)},
			"labels": {Type: cty.List(cty.String)},
			"pass":   {Type: providers.SecretType},
			"used":   {Type: cty.Number, Computed: true},
		}},
		"box_copy": {Attributes: providers.Attributes{
			"name": {Type: cty.String, Required: true, Identity: true},
			"to":   {Type: cty.String, Required: true, System: "store"},
			"limits": {Type: cty.Object(map[string]cty.Type{"rate": cty.Number, "burst": cty.Number}), Block: true, Nested: providers.Attributes{
				"rate":  {Type: cty.Number, Required: true},
				"burst": {Type: cty.Number, Default: cty.NumberIntVal(1)},
			}},
			"behind": {Type: cty.Number, Computed: true},
		}},
	}
	return schemas{
		"shelf": {Kind: "store", Resources: store, Config: providers.Attributes{
			"address": {Type: cty.String, Required: true},
			"key":     {Type: providers.SecretType},
			"shell": {Type: cty.Object(map[string]cty.Type{"user": cty.String, "port": cty.Number}), Block: true, Nested: providers.Attributes{
				"user": {Type: cty.String, Required: true},
				"port": {Type: cty.Number, Default: cty.NumberIntVal(22)},
			}},
		}},
		"plain": {Kind: "names", Resources: map[string]providers.ResourceSchema{
			"record": {Attributes: providers.Attributes{
				"name":         {Type: cty.String, Required: true, Identity: true},
				"type":         {Type: cty.String, Required: true, Identity: true},
				"ttl":          {Type: cty.Number, Default: cty.NumberIntVal(3600)},
				"values":       {Type: cty.Set(cty.String), Required: true},
				"cached_until": {Type: cty.String, Computed: true},
			}},
		}, Config: providers.Attributes{"zone": {Type: cty.String, Required: true}}},
	}
}

// open loads an archive: files of the root module, modules below, recipes in
// std/.
func open(t testing.TB, archive string, change ...func(*Options)) (*Config, Diagnostics) {
	t.Helper()
	dir := t.TempDir()
	recipes := fstest.MapFS{}
	for _, file := range txtar.Parse([]byte(archive)).Files {
		if rest, ok := strings.CutPrefix(file.Name, "std/"); ok {
			recipes[rest] = &fstest.MapFile{Data: file.Data}
			continue
		}
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	options := Options{Dir: dir, Modules: recipes, Schemas: testSchemas(), Version: "0.1.0"}
	for _, f := range change {
		f(&options)
	}
	return Load(options)
}

func must(t testing.TB, archive string, change ...func(*Options)) *Config {
	t.Helper()
	c, diags := open(t, archive, change...)
	if diags.HasErrors() {
		diags.WriteTo(testWriter{t}, false, 0)
		t.Fatal("the configuration does not load")
	}
	return c
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) { w.t.Log("\n" + string(p)); return len(p), nil }
