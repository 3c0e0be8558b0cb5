package config

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad reads arbitrary files. Whatever they hold, Load returns, and what it
// returns can be shown; a configuration without errors can be evaluated.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/faults/*.txtar", "testdata/worlds/*.txtar"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				f.Fatal(err)
			}
			var files [2][]byte
			for _, file := range archive.Files {
				switch filepath.Dir(file.Name) {
				case ".":
					files[0] = append(files[0], file.Data...)
				default:
					files[1] = append(files[1], file.Data...)
				}
			}
			f.Add(files[0], files[1])
		}
	}
	f.Fuzz(func(t *testing.T, root, recipe []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "main.mm.hcl"), root, 0o644); err != nil {
			t.Fatal(err)
		}
		recipes := fstest.MapFS{"one/main.mm.hcl": {Data: recipe}, "live/main.mm.hcl": {Data: recipe}}
		c, diags := Load(Options{Dir: dir, Modules: recipes, Schemas: testSchemas(), Version: "0.1.0"})
		if err := diags.WriteTo(io.Discard, true, 80); err != nil {
			t.Fatal(err)
		}
		if diags.HasErrors() {
			return
		}
		c.Digest()
		c.Moves()
		if _, diags := c.Desired(nil); diags.HasErrors() {
			t.Errorf("it loads, but %v", diags)
		}
	})
}
