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

// begunAt is where build.sh keeps the text that a map was made of until the map is
// made of another one.
const begunAt = "/var/lib/mailmove/begun"

// mapFiles reads the files of a parameter that names maps. Where a change was
// interrupted before the map was made, what the map was made of is what Postfix goes
// by, and counts: the next change begins from there.
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
		paths = append(paths, p, begunAt+p, begunAt+p+".to")
	}
	found, err := remote.ReadFiles(ctx, s.runner, paths...)
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		text, begun, to := found[3*i], found[3*i+1], found[3*i+2]
		if !text.Exists {
			return nil, fmt.Errorf("%s of %v: the file %s does not exist", parameter, s.runner, text.Path)
		}
		if err := file.read(text.Content, begun, to); err != nil {
			return nil, fmt.Errorf("%s of %v: %w", parameter, s.runner, err)
		}
	}
	return files, nil
}

// read takes the text, or where a change of it was begun and the map not made, the
// text of before: to holds the digests of what it was to become.
func (f *mapFile) read(text []byte, begun, to remote.File) error {
	digest := remote.Digest(text)
	if !begun.Exists {
		f.parse(text)
		return nil
	}
	if digest != remote.Digest(begun.Content) && !slices.Contains(strings.Fields(string(to.Content)), digest) {
		return providers.Faultf(fmt.Sprintf("Look at both, make the map with %s %s:%s, and remove %s.", f.program(), f.typ, f.path, begun.Path),
			"the file %s was changed by hand after mailmove had been interrupted; %s is what its map was made of", f.path, begun.Path)
	}
	f.parse(begun.Content)
	f.changed = digest != f.digest
	f.digest = digest
	return nil
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
			begin = append(begin, f.path, remote.Digest(f.content()))
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
