package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/mailmove/mailmove"

// layers is the architecture: what a folder may import of ours. A folder's row is
// the one with the longest prefix; ".../*" stands for everything below. To change
// this table is to change the architecture; docs/architecture.md explains it.
var layers = map[string][]string{
	"cmd/mailmove":     {"engine", "engine/*", "providers", "providers/*"},
	"cmd/mailmove-lab": {"cmd/mailmove-lab/*"},

	"engine":            {"engine/config", "engine/plan", "engine/state", "engine/graph", "engine/view", "providers"},
	"engine/config":     {"engine/plan", "providers"},
	"engine/plan":       {"engine/graph", "providers"},
	"engine/state":      {"engine/plan", "providers"},
	"engine/view":       {"engine/plan", "providers"},
	"engine/graph":      {},
	"engine/simulation": {"engine", "engine/*", "providers"},

	"providers":               {},
	"providers/providertest":  {"providers"},
	"providers/remote":        {"providers"},
	"providers/recipes":       {},
	"providers/dns":           {"providers", "providers/remote"},
	"providers/dns/dnstest":   {"providers", "providers/dns", "providers/providertest"},
	"providers/mail":          {"providers", "providers/remote"},
	"providers/mail/mailtest": {"providers", "providers/mail", "providers/providertest"},
	"providers/operator":      {"providers"},
}

// testsMay are imports that tests of a folder may have besides.
var testsMay = map[string][]string{
	// Conformance on real servers runs in the lab's hosts.
	"providers": {"providers/*", "cmd/mailmove-lab/*"},
}

// outside are modules that only some folders may import.
var outside = map[string][]string{
	"github.com/hashicorp/hcl/v2":     {"engine/config"},
	"github.com/urfave/cli/v3":        {"cmd/mailmove", "cmd/mailmove-lab"},
	"golang.org/x/crypto/ssh":         {"providers/remote", "cmd/mailmove-lab"},
	"github.com/rogpeppe/go-internal": {"cmd/mailmove"},
}

// impure are packages of the standard library that pure folders do not import.
var impure = []string{"context", "os", "net", "os/exec", "io/fs", "log", "log/slog"}

func TestArchitectureImports(t *testing.T) {
	files := goFiles(t)
	if len(files) < 50 {
		t.Fatalf("only %d Go files found; is the test in the right folder?", len(files))
	}
	for _, file := range files {
		folder := path.Dir(file)
		row, ok := rowOf(folder)
		if !ok {
			t.Errorf("%s: the folder has no row in the table of layers", folder)
			continue
		}
		allowed := slices.Concat(layers[row], []string{row, row + "/*"})
		if strings.HasSuffix(file, "_test.go") {
			top, _, _ := strings.Cut(folder, "/")
			allowed = append(allowed, testsMay[top]...)
		}
		for _, imported := range imports(t, file) {
			checkImport(t, file, folder, row, imported, allowed)
		}
	}
}

func checkImport(t *testing.T, file, folder, row, imported string, allowed []string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(imported, modulePath+"/"); ok {
		if !slices.ContainsFunc(allowed, func(pattern string) bool { return covers(pattern, ours) }) {
			t.Errorf("%s imports %s; %s may import of ours: %q", file, ours, row, allowed)
		}
		return
	}
	for module, folders := range outside {
		if imported != module && !strings.HasPrefix(imported, module+"/") {
			continue
		}
		if !slices.ContainsFunc(folders, func(f string) bool { return folder == f || strings.HasPrefix(folder, f+"/") }) && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s imports %s, which only %q may", file, imported, folders)
		}
	}
	if (row == "engine/plan" || row == "engine/graph") && !strings.HasSuffix(file, "_test.go") && slices.Contains(impure, imported) {
		t.Errorf("%s imports %s, but %s is pure", file, imported, row)
	}
}

// rowOf returns the row of the table that governs a folder.
func rowOf(folder string) (string, bool) {
	for row := folder; row != "."; row = path.Dir(row) {
		if _, ok := layers[row]; ok {
			return row, true
		}
	}
	return "", false
}

func covers(pattern, imported string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(imported, prefix+"/")
	}
	return imported == pattern
}

// The engine knows nothing of what it moves: no package of it has these words, the
// module's own name aside.
func TestArchitectureEngineKnowsNoMail(t *testing.T) {
	words := regexp.MustCompile(`(?i)\b(mail|smtp|imap|mx)\b`)
	err := filepath.WalkDir("../../engine", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if found := words.Find(line); found != nil {
				t.Errorf("%s:%d has the word %q: %s", name, i+1, found, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nobody but main ends the process, and nothing registers itself.
func TestArchitectureHabits(t *testing.T) {
	for _, file := range goFiles(t) {
		data, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(file, "_test.go")
		test = test || strings.HasSuffix(path.Dir(file), "test")
		if !test && path.Base(file) != "main.go" && regexp.MustCompile(`\bos\.Exit\(|\blog\.Fatal`).Match(data) {
			t.Errorf("%s ends the process; only main.go does", file)
		}
		if !test && regexp.MustCompile(`(?m)^func init\(\)`).Match(data) {
			t.Errorf("%s has func init()", file)
		}
		if lines := bytes.Count(data, []byte("\n")); lines > 700 {
			t.Errorf("%s has %d lines; divide it", file, lines)
		}
	}
	for _, name := range folders(t) {
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc", "v2", "legacy"}, path.Base(name)) {
			t.Errorf("folder %s is named after nothing in particular", name)
		}
	}
}

func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	walk(t, func(name string, entry fs.DirEntry) {
		if !entry.IsDir() && strings.HasSuffix(name, ".go") {
			files = append(files, name)
		}
	})
	return files
}

// folders returns those that hold Go files.
func folders(t *testing.T) []string {
	t.Helper()
	var list []string
	walk(t, func(name string, entry fs.DirEntry) {
		if goes, _ := filepath.Glob(filepath.Join("../..", name, "*.go")); entry.IsDir() && len(goes) > 0 {
			list = append(list, name)
		}
	})
	return list
}

// walk visits the source tree; names are relative to its root.
func walk(t *testing.T, visit func(string, fs.DirEntry)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || name == "bin" || name == "build") {
			return fs.SkipDir
		}
		visit(name, entry)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func imports(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, spec := range parsed.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, name)
	}
	return list
}
