package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Names of files.
const (
	suffix       = ".mm.hcl"
	varsSuffix   = ".mmvars.hcl"
	autoSuffix   = ".auto.mmvars.hcl"
	defaultVars  = "mailmove.mmvars.hcl"
	defaultState = "mailmove.state.json"
)

// maxFile bounds what is read: a larger file is not a configuration.
const maxFile = 4 << 20

// A folder holds the files of one module. Names of files in diagnostics and in
// the digest are relative to the root module's folder.
type folder struct {
	// name is the folder's name for people: "" for the root module, "net" for
	// ./net, "std/live" for an embedded recipe.
	name string
	// dir is the folder in the operating system, or embedded and inside the folder
	// in embedded.
	dir      string
	embedded fs.FS
	inside   string
}

// key tells folders apart.
func (f *folder) key() string {
	if f.embedded != nil {
		return "std/" + f.inside
	}
	return filepath.Clean(f.dir)
}

// file returns the name of a file of the folder for people.
func (f *folder) file(name string) string { return path.Join(f.name, name) }

// list returns the names of the folder's files, in order.
func (f *folder) list() ([]string, error) {
	var entries []fs.DirEntry
	var err error
	if f.embedded != nil {
		entries, err = fs.ReadDir(f.embedded, f.inside)
	} else {
		entries, err = os.ReadDir(f.dir)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// read returns the content of one of the listed files.
func (f *folder) read(name string) ([]byte, error) {
	if f.embedded != nil {
		return fs.ReadFile(f.embedded, path.Join(f.inside, name))
	}
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file)
}

// within returns the content of a file that the configuration names. It must be
// a regular file in the folder or below it, symbolic links resolved.
func (f *folder) within(name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, errors.New("it is not in the module's folder")
	}
	if f.embedded != nil {
		return fs.ReadFile(f.embedded, path.Join(f.inside, filepath.ToSlash(name)))
	}
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file)
}

// cause is what an error of the file system says without the call and the path,
// which the message around it names.
func cause(err error) error {
	var detail *fs.PathError
	if errors.As(err, &detail) {
		return detail.Err
	}
	return err
}

// ended makes a text a sentence.
func ended(text string) string {
	if strings.HasSuffix(text, "?") || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

var errTooLarge = errors.New("the file is larger than 4 MiB")

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, errTooLarge
	}
	return data, err
}

// parse reads one file of the language. The body is nil if it cannot be used.
func (c *Config) parse(f *folder, name string) (*hclsyntax.Body, hcl.Diagnostics) {
	label := f.file(name)
	src, err := f.read(name)
	if err != nil {
		return nil, hcl.Diagnostics{fault(nil, "Unreadable file", "Reading %s: %v.", label, cause(err))}
	}
	if len(src) > maxFile {
		return nil, hcl.Diagnostics{fault(nil, "Unreadable file", "Reading %s: %v.", label, errTooLarge)}
	}
	return c.parseSource(label, src)
}

func (c *Config) parseSource(label string, src []byte) (*hclsyntax.Body, hcl.Diagnostics) {
	if deep := tooDeep(label, src); deep != nil {
		c.parsed[label] = &hcl.File{Bytes: src}
		return nil, hcl.Diagnostics{deep}
	}
	file, diags := hclsyntax.ParseConfig(src, label, hcl.InitialPos)
	if file == nil {
		file = &hcl.File{Bytes: src}
	}
	c.parsed[label] = file
	diags = append(diags, hiddenDirection(label, src)...)
	body, _ := file.Body.(*hclsyntax.Body)
	return body, diags
}

// hiddenDirection warns of characters that make a line look other than it is
// read (Unicode Technical Report 36 section 2.6, "Trojan Source").
func hiddenDirection(label string, src []byte) hcl.Diagnostics {
	number := 0
	for line := range bytes.Lines(src) {
		number++
		column := 0
		for i := 0; i < len(line); column++ {
			r, size := utf8.DecodeRune(line[i:])
			if directional(r) {
				rng := &hcl.Range{
					Filename: label,
					Start:    hcl.Pos{Line: number, Column: column + 1},
					End:      hcl.Pos{Line: number, Column: column + 2},
				}
				return hcl.Diagnostics{warning(rng, "Hidden change of writing direction",
					"The character U+%04X makes this line look different from what mailmove reads. Remove it, or write it as \\u%04X.", r, r)}
			}
			i += size
		}
	}
	return nil
}

// directional reports whether r changes the direction of what follows.
func directional(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0x200E || r == 0x200F || r == 0x061C
}

// resolve finds the folder that a module block names.
func (c *Config) resolve(from *folder, source string) (*folder, error) {
	switch {
	case strings.HasPrefix(source, "std/"):
		return c.standard(strings.TrimPrefix(source, "std/"))
	case source == "." || source == ".." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../"):
	case strings.HasPrefix(source, "git::"), strings.Contains(source, "://"), strings.HasPrefix(source, "git@"):
		return nil, errors.New("modules from git are not supported yet; clone the repository beside this configuration and use its path, such as \"./modules/name\"")
	default:
		return nil, fmt.Errorf("%q is neither an embedded recipe (\"std/NAME\") nor a path (\"./NAME\" or \"../NAME\")", source)
	}
	if from.embedded != nil {
		inside := path.Join(from.inside, source)
		if !fs.ValidPath(inside) {
			return nil, fmt.Errorf("%q leads out of the embedded recipes", source)
		}
		return &folder{name: "std/" + inside, embedded: from.embedded, inside: inside}, nil
	}
	dir := filepath.Join(from.dir, filepath.FromSlash(source))
	if info, err := os.Stat(dir); err != nil {
		return nil, cause(err)
	} else if !info.IsDir() {
		return nil, errors.New("it is not a folder")
	}
	return &folder{name: path.Join(from.name, source), dir: dir}, nil
}

// standard finds an embedded recipe.
func (c *Config) standard(name string) (*folder, error) {
	var known []string
	if c.options.Modules != nil {
		entries, err := fs.ReadDir(c.options.Modules, ".")
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if entry.IsDir() {
				known = append(known, entry.Name())
			}
		}
	}
	if !slices.Contains(known, name) {
		hint := didYouMean(name, known)
		if hint == "" {
			hint = " The recipes are " + listing(known) + "."
		}
		return nil, fmt.Errorf("there is no recipe %q.%s", "std/"+name, hint)
	}
	return &folder{name: "std/" + name, embedded: c.options.Modules, inside: name}, nil
}

// listing joins words for a sentence.
func listing(words []string) string {
	switch len(words) {
	case 0:
		return "none"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
