package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/engine/config"
)

// What the README shows is a configuration that can be used.
func TestReadmeConfiguration(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), "```hcl\n")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the README shows no configuration")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.mm.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, diags := config.Load(config.Options{Dir: dir, Modules: modules(), Schemas: registry(nil), Version: version})
	for _, d := range diags {
		t.Errorf("%s line %d: %s: %s", d.Subject.File, d.Subject.Line, d.Summary, d.Detail)
	}
	formatted, _ := config.Format("readme.mm.hcl", []byte(text))
	if string(formatted) != text {
		t.Errorf("the README's configuration is not in the layout of mailmove fmt:\n%s", formatted)
	}
}

// Every link between documents leads somewhere, and every document is linked.
func TestDocumentsAreLinked(t *testing.T) {
	linked := map[string]bool{}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../../README.md") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "](")[1:] {
			target, _, _ := strings.Cut(part, ")")
			target, _, _ = strings.Cut(target, "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			path := filepath.Join(filepath.Dir(file), target)
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", file, target)
			}
			linked[path] = true
		}
	}
	for _, file := range files {
		if !linked[file] {
			t.Errorf("nothing links to %s", file)
		}
	}
}
