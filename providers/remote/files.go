package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A File is what was found under a path. The zero value but for Path means that
// nothing is there.
type File struct {
	Path   string
	Exists bool
	// Link is the resolved target if Path is a symbolic link; everything else is
	// then of the target.
	Link string
	// Mode holds type and permissions.
	Mode        fs.FileMode
	UID, GID    int
	User, Group string // UNKNOWN if the machine has no name for the number
	Links       int    // hard links
	Size        int64
	ModTime     time.Time
	// SHA256 (hexadecimal) and Content are those of a regular file, and only
	// [ReadFile] and [ReadFiles] set them.
	SHA256  string
	Content []byte
}

// Digest is the hexadecimal SHA-256 of content, as in [File] and [FileEdit].
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

//go:embed read.sh
var readScript string

// ReadFiles reads files and what belongs to them, in one round trip and in the
// order of the paths. Missing ones are no error. It follows symbolic links.
func ReadFiles(ctx context.Context, r Runner, paths ...string) ([]File, error) {
	return look(ctx, r, "read", paths)
}

// Stat is ReadFiles without the contents.
func Stat(ctx context.Context, r Runner, paths ...string) ([]File, error) {
	return look(ctx, r, "stat", paths)
}

// ReadFile reads one file; a missing one is fs.ErrNotExist.
func ReadFile(ctx context.Context, r Runner, path string) (File, error) {
	files, err := ReadFiles(ctx, r, path)
	if err != nil {
		return File{}, err
	}
	if !files[0].Exists {
		return files[0], fmt.Errorf("reading %s on %v: %w", path, r, fs.ErrNotExist)
	}
	return files[0], nil
}

// maxRead bounds what one look brings over, as base64.
const maxRead = 128 << 20

func look(ctx context.Context, r Runner, how string, paths []string) ([]File, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return nil, err
		}
	}
	res, err := r.Run(ctx, Command{
		Name:      how + " " + several(paths),
		Script:    readScript,
		Args:      append([]string{how}, paths...),
		MaxOutput: maxRead,
	})
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(res.Stdout, []byte("\n")), []byte("\n"))
	if len(lines) != len(paths) {
		return nil, fmt.Errorf("reading files on %v: %d answers for %d paths", r, len(lines), len(paths))
	}
	files := make([]File, len(paths))
	for i, line := range lines {
		if files[i], err = parseFile(paths[i], string(line)); err != nil {
			return nil, fmt.Errorf("reading %s on %v: %w", paths[i], r, err)
		}
	}
	return files, nil
}

// several names the first of some paths.
func several(paths []string) string {
	if len(paths) <= 1 {
		return strings.Join(paths, "")
	}
	return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
}

// parseFile reads an answer of read.sh: "absent", or mode, links, uid, gid, user,
// group, size, mtime, then the link target and the content in base64 or "-".
func parseFile(path, line string) (File, error) {
	f := File{Path: path}
	if line == "absent" {
		return f, nil
	}
	fields := strings.Split(line, " ")
	if len(fields) != 10 {
		return f, fmt.Errorf("answer %q has %d fields", printable([]byte(line)), len(fields))
	}
	mode, err := strconv.ParseUint(fields[0], 16, 32)
	if err != nil {
		return f, fmt.Errorf("mode: %w", err)
	}
	numbers := make([]int64, 0, 5)
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return f, fmt.Errorf("answer of stat: %w", err)
		}
		numbers = append(numbers, n)
	}
	f.Exists, f.Mode, f.User, f.Group = true, unixMode(uint32(mode)), fields[4], fields[5]
	f.Links, f.UID, f.GID, f.Size = int(numbers[0]), int(numbers[1]), int(numbers[2]), numbers[3]
	f.ModTime = time.Unix(numbers[4], 0).UTC()
	if fields[8] != "-" {
		link, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[8], "="))
		if err != nil {
			return f, fmt.Errorf("link target: %w", err)
		}
		f.Link = string(link)
	}
	if fields[9] != "-" {
		f.Content, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[9], "="))
		if err != nil {
			return f, fmt.Errorf("content: %w", err)
		}
		// The size of the moment of reading: the file may have grown since stat.
		f.Size, f.SHA256 = int64(len(f.Content)), Digest(f.Content)
	}
	return f, nil
}

// unixMode translates st_mode of Linux (inode(7)).
func unixMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o140000:
		mode |= fs.ModeSocket
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case 0o060000:
		mode |= fs.ModeDevice
	}
	if m&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if m&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// checkPath accepts absolute clean paths. They begin with a slash, so that none is
// ever taken for an option.
func checkPath(p string) error {
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p:
		return fmt.Errorf("path %q is not absolute and clean", p)
	case !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("path %q holds control characters or is not UTF-8", p)
	}
	return nil
}

// ListDir returns the names in a directory, sorted, without their contents. A
// missing directory is fs.ErrNotExist.
func ListDir(ctx context.Context, r Runner, dir string) ([]string, error) {
	if err := checkPath(dir); err != nil {
		return nil, err
	}
	const script = `[ -d "$1" ] || { echo absent; exit; }
echo present
LC_ALL=C; for n in "$1"/* "$1"/.*; do
	n=${n##*/}
	case $n in . | ..) continue ;; esac
	if [ -e "$1/$n" ] || [ -L "$1/$n" ]; then printf '%s\0' "$n"; fi
done | sort -z`
	names, err := list(ctx, r, Command{Name: "list " + dir, Script: script, Args: []string{dir}})
	if err != nil {
		return nil, err
	}
	if names == nil {
		return nil, fmt.Errorf("listing %s on %v: %w", dir, r, fs.ErrNotExist)
	}
	return names, nil
}

// Glob returns the existing paths that match any of the shell patterns (*, ?, […]),
// sorted within a pattern. A pattern is an absolute path.
func Glob(ctx context.Context, r Runner, patterns ...string) ([]string, error) {
	for _, p := range patterns {
		if err := checkPath(p); err != nil {
			return nil, err
		}
	}
	// With IFS empty an unquoted variable undergoes pathname expansion and nothing
	// else (POSIX.1-2017, Shell Command Language, section 2.6).
	const script = `IFS=
echo present
for p in "$@"; do
	for f in $p; do if [ -e "$f" ] || [ -L "$f" ]; then printf '%s\0' "$f"; fi; done
done`
	return list(ctx, r, Command{Name: "look for " + several(patterns), Script: script, Args: patterns})
}

// list runs a script that answers "absent", or "present" and names that end in NUL.
func list(ctx context.Context, r Runner, c Command) ([]string, error) {
	c.MaxOutput = maxRead
	res, err := r.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	answer, names, _ := strings.Cut(string(res.Stdout), "\n")
	switch {
	case answer == "absent":
		return nil, nil
	case answer != "present":
		return nil, fmt.Errorf("%s on %v: unexpected answer %q", c.Name, r, printable(res.Stdout))
	case names == "":
		return []string{}, nil
	}
	return strings.Split(strings.TrimSuffix(names, "\x00"), "\x00"), nil
}
