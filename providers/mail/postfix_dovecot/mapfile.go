package postfix_dovecot

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/build.sh
var buildScript string

// A mapFile is the source of one of Postfix' indexed maps (postmap(1)), or of
// local(8)'s aliases (aliases(5)). What we do not change stays as it is, comments
// and order included.
type mapFile struct {
	typ, path, digest string
	local             bool // aliases(5): NAME: VALUE, …
	lines             []string
	entries           []entry
	changed           bool
	// begun says that the text was changed and the map perhaps not: something was
	// interrupted, and what is in force is what the map holds.
	begun bool
}

// program makes the map.
func (f *mapFile) program() string {
	if f.local {
		return "postalias"
	}
	return "postmap"
}

// An entry is a logical line: it begins at lines[first] and its continuations,
// which begin with white space, end before lines[end].
type entry struct {
	key, value string
	first, end int
}

func parseMap(typ, path string, content []byte) *mapFile {
	f := &mapFile{typ: typ, path: path}
	f.parse(content)
	return f
}

func (f *mapFile) parse(content []byte) {
	f.digest = remote.Digest(content)
	for line := range bytes.Lines(content) {
		f.lines = append(f.lines, strings.TrimRight(string(line), "\n"))
	}
	f.index()
}

func (f *mapFile) index() {
	f.entries = nil
	for i, line := range f.lines {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case line != strings.TrimLeft(line, " \t"):
			if n := len(f.entries); n > 0 {
				e := &f.entries[n-1]
				e.value, e.end = e.value+" "+trimmed, i+1
			}
		default:
			key, value := f.split(trimmed)
			f.entries = append(f.entries, entry{key: strings.ToLower(key), value: strings.TrimSpace(value), first: i, end: i + 1})
		}
	}
}

func (f *mapFile) split(line string) (key, value string) {
	if !f.local {
		key, value, _ = strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		return key, value
	}
	if rest, quoted := strings.CutPrefix(line, `"`); quoted {
		key, value, _ = strings.Cut(rest, `"`)
		return key, strings.TrimPrefix(strings.TrimSpace(value), ":")
	}
	key, value, _ = strings.Cut(line, ":")
	return strings.TrimSpace(key), value
}

func (f *mapFile) find(key string) (entry, bool) {
	i := slices.IndexFunc(f.entries, func(e entry) bool { return e.key == key })
	if i < 0 {
		return entry{}, false
	}
	return f.entries[i], true
}

// set makes the value of key; "" removes the entry.
func (f *mapFile) set(key, value string) {
	e, found := f.find(key)
	if found && e.value == value || !found && value == "" {
		return
	}
	var line []string
	if value != "" {
		line = []string{key + "  " + value}
		if f.local {
			line = []string{key + ": " + value}
		}
	}
	if found {
		f.lines = slices.Replace(f.lines, e.first, e.end, line...)
	} else {
		f.lines = append(f.lines, line...)
	}
	f.changed = true
	f.index()
}

func (f *mapFile) content() []byte { return []byte(strings.Join(f.lines, "\n") + "\n") }

// begunAt is where build.sh leaves a file named like the map until that is built.
const begunAt = "/var/lib/mailmove/begun"

// mapFiles reads the files of a parameter that names maps, to edit them. What is in
// force, [System.inForce] tells.
func (s *System) mapFiles(ctx context.Context, l *layout, parameter string) ([]*mapFile, error) {
	var files []*mapFile
	var paths []string
	for _, name := range splitList(l.postfix[parameter]) {
		typ, p, found := strings.Cut(strings.TrimPrefix(name, "proxy:"), ":")
		if strings.HasPrefix(p, "/etc/postfix/mailmove/") {
			continue
		}
		if !found || !path.IsAbs(p) {
			return nil, providers.Faultf(unsupported, "%s of %v has %q, which is no file", parameter, s.runner, name)
		}
		if _, err := mapType(typ); err != nil {
			return nil, fmt.Errorf("%s of %v: %w", parameter, s.runner, err)
		}
		files = append(files, &mapFile{typ: typ, path: p, local: parameter == "alias_maps"})
		paths = append(paths, p, begunAt+p)
	}
	found, err := remote.ReadFiles(ctx, s.runner, paths...)
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		text, begun := found[2*i], found[2*i+1]
		if !text.Exists {
			return nil, fmt.Errorf("%s of %v: the file %s does not exist", parameter, s.runner, text.Path)
		}
		file.parse(text.Content)
		file.begun = begun.Exists
	}
	return files, nil
}

// inForce returns files as Postfix knows them: where something was interrupted, what
// their maps hold.
func (s *System) inForce(ctx context.Context, files []*mapFile) ([]*mapFile, error) {
	known := slices.Clone(files)
	for i, f := range files {
		if !f.begun || f.typ == "texthash" {
			continue
		}
		res, err := s.runner.Run(ctx, remote.Command{Name: "read a map", Script: buildScript, Args: []string{"show", f.program(), f.typ, f.path}})
		if err != nil {
			return nil, refusal(err)
		}
		known[i] = &mapFile{typ: f.typ, path: f.path, local: f.local}
		for line := range strings.Lines(string(res.Stdout)) {
			key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
			known[i].entries = append(known[i].entries, entry{key: strings.ToLower(key), value: strings.TrimSpace(value)})
		}
	}
	return known, nil
}

// splitList splits a list of main.cf.
func splitList(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// write puts the changed files in place and makes all of their maps anew, beside
// the old ones and then by rename: also those whose text was changed by an
// attempt that was interrupted.
func (s *System) write(ctx context.Context, op string, files ...*mapFile) error {
	if err := s.fenced(ctx); err != nil {
		return err
	}
	var edits []remote.FileEdit
	begin, build := []string{"begin"}, []string{"build"}
	for _, f := range files {
		if f.changed {
			edits = append(edits, remote.FileEdit{Path: f.path, Expect: f.digest, Content: f.content()})
			begin = append(begin, f.path)
		}
		build = append(build, f.program(), f.typ, f.path)
	}
	if len(files) == 0 {
		return nil
	}
	if len(edits) > 0 {
		if _, err := s.runner.Run(ctx, remote.Command{Name: "begin to change maps", Script: buildScript, Args: begin}); err != nil {
			return refusal(err)
		}
		if _, err := remote.Edit(ctx, s.runner, backupName(op), edits...); err != nil {
			return conflict(err)
		}
	}
	_, err := s.runner.Run(ctx, remote.Command{Name: "build maps", Script: buildScript, Args: build})
	return refusal(err)
}

// backupName is the name under which the originals of a change are kept.
func backupName(op string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, op)
	if len(name) > 120 {
		name = name[:120]
	}
	return "op_" + name
}

// conflict makes the conflict of a file that of the object in it.
func conflict(err error) error {
	if c, ok := errorAs[*remote.ConflictError](err); ok {
		return &mail.ConflictError{Object: c.Path + " on " + c.Machine, Expected: "as it was read", Found: "changed meanwhile"}
	}
	return err
}
