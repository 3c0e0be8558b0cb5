package remote

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A FileEdit replaces, makes or removes one file.
type FileEdit struct {
	// Path is absolute, clean and of a regular file; it is never followed if it is
	// a symbolic link.
	Path string
	// Expect is the digest of the content that is to be replaced, as in
	// [File.SHA256]. Empty: there must be no file yet.
	Expect string
	// Content is the new content. With Remove the file is removed instead.
	Content []byte
	Remove  bool
	// Mode and Owner ("user" or "user:group") are set if given. Otherwise those of
	// the old file stay, with its access list, label and extended attributes; a new
	// file is 0600 and root's. A file that neither root nor the script's user owns is
	// refused unless Owner names that owner.
	Mode  fs.FileMode
	Owner string
	// DirMode, if given, makes missing directories above a new file.
	DirMode fs.FileMode
	// Validate is a constant script that judges the new content before it is put in
	// place: "$1" is a file that holds it (empty with Remove), "$2" is Path. A status
	// other than 0 refuses the edit (*InvalidError). What it writes becomes part of
	// the message.
	Validate string
}

// An Edited says what an edit did to one file.
type Edited struct {
	Path string
	// Changed is false if the file was already as it should be.
	Changed bool
	// SHA256 is the digest of the content now; empty after Remove.
	SHA256 string
}

//go:embed edit.sh
var editScript string

// lockPatience is how many seconds an edit waits for another one to end.
const lockPatience = "30"

var (
	validBackup = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	validOwner  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?$`)
	validDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Edit changes files on a machine, all of them or none, under its lock and in one
// round trip. Each file is compared with what is expected immediately before it is
// replaced, and once more afterwards: a change that somebody else made in between
// is put back. The new file is complete on disk before it takes the place of the
// old one by rename. A crash at any instant leaves each file old or new; of several
// files some may then be new, and the same Edit completes the work.
//
// The originals are kept under the given name in the backup directory; a name keeps
// the first original of each path. [Restore] brings them back.
//
// An edit whose outcome is Unknown may be repeated as it is: files that have the
// new content already count as done.
func Edit(ctx context.Context, r Runner, backup string, edits ...FileEdit) ([]Edited, error) {
	if len(edits) == 0 {
		return nil, nil
	}
	if !validBackup.MatchString(backup) {
		return nil, fmt.Errorf("editing files on %v: backup name %q is not plain", r, backup)
	}
	args := []string{r.StateDir(), backup, lockPatience}
	var contents bytes.Buffer
	seen := map[string]bool{}
	for _, e := range edits {
		if seen[e.Path] {
			return nil, fmt.Errorf("editing files on %v: %s is named twice", r, e.Path)
		}
		seen[e.Path] = true
		a, err := e.args()
		if err != nil {
			return nil, fmt.Errorf("editing %s on %v: %w", e.Path, r, err)
		}
		args = append(args, a...)
		contents.Write(e.Content)
	}
	paths := make([]string, len(edits))
	for i, e := range edits {
		paths[i] = e.Path
	}
	res, err := r.Run(ctx, Command{Name: "edit " + several(paths), Script: editScript, Args: args, Stdin: contents.Bytes()})
	if err != nil {
		return nil, err
	}
	return editAnswer(r, edits, res)
}

// args are the nine parameters of edit.sh.
func (e FileEdit) args() ([]string, error) {
	if err := checkPath(e.Path); err != nil {
		return nil, err
	}
	if e.Path == "/" {
		return nil, fmt.Errorf("it is a directory")
	}
	if e.Expect != "" && !validDigest.MatchString(e.Expect) {
		return nil, fmt.Errorf("expected digest %q is not a SHA-256 in lower case", e.Expect)
	}
	if e.Owner != "" && !validOwner.MatchString(e.Owner) {
		return nil, fmt.Errorf("owner %q is not a user or user:group", e.Owner)
	}
	if e.Mode&^fs.ModePerm != 0 || e.DirMode&^fs.ModePerm != 0 {
		return nil, fmt.Errorf("mode %v has more than permissions", e.Mode|e.DirMode)
	}
	if e.Remove && (e.Content != nil || e.Mode != 0 || e.Expect == "") {
		return nil, fmt.Errorf("a removal needs Expect and has neither Content nor Mode")
	}
	a := []string{"write", e.Path, "absent", Digest(e.Content), strconv.Itoa(len(e.Content)), "-", "-", "-", e.Validate}
	if e.Remove {
		a[0] = "remove"
	}
	if e.Expect != "" {
		a[2] = e.Expect
	}
	if e.Mode != 0 {
		a[5] = fmt.Sprintf("%o", e.Mode)
	}
	if e.Owner != "" {
		a[6] = e.Owner
	}
	if e.DirMode != 0 {
		a[7] = fmt.Sprintf("%o", e.DirMode)
	}
	return a, nil
}

// editAnswer reads what edit.sh says.
func editAnswer(r Runner, edits []FileEdit, res Result) ([]Edited, error) {
	lines := strings.Split(strings.TrimSuffix(string(res.Stdout), "\n"), "\n")
	last := lines[len(lines)-1]
	if last == "done" && len(lines) == len(edits)+1 {
		done := make([]Edited, len(edits))
		for i, e := range edits {
			done[i] = Edited{Path: e.Path, Changed: lines[i] == "changed"}
			if !e.Remove {
				done[i].SHA256 = Digest(e.Content)
			}
		}
		return done, nil
	}
	if last == "locked" {
		return nil, &LockedError{Machine: r.String(), Lock: r.StateDir() + "/lock"}
	}
	kind, rest, _ := strings.Cut(last, " ")
	number, detail, _ := strings.Cut(rest, " ")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(edits) {
		return nil, fmt.Errorf("editing files on %v: unexpected answer %q", r, printable(res.Stdout))
	}
	e, said := edits[i], printable(res.Stderr)
	switch kind {
	case "conflict":
		if detail == "absent" {
			detail = ""
		}
		return nil, &ConflictError{Machine: r.String(), Path: e.Path, Want: e.Expect, Got: detail}
	case "refused":
		return nil, &RefusedError{Machine: r.String(), Path: e.Path, Reason: detail}
	case "invalid":
		return nil, &InvalidError{Machine: r.String(), Path: e.Path, Said: said}
	case "torn":
		return nil, &TornError{Machine: r.String(), Path: e.Path, Said: said}
	}
	return nil, &ExitError{Machine: r.String(), Doing: "editing " + e.Path + " (nothing is changed)", Status: 1, Stderr: said}
}

// Restore brings files back to the originals that Edit kept under a name: expect
// maps each path to the digest it must have now (empty: no file), as Edited.SHA256
// told. validate is as in FileEdit. A path of which the backup knows nothing is an
// error, and nothing is changed.
func Restore(ctx context.Context, r Runner, backup string, expect map[string]string, validate string) ([]Edited, error) {
	if !validBackup.MatchString(backup) {
		return nil, fmt.Errorf("restoring files on %v: backup name %q is not plain", r, backup)
	}
	base := r.StateDir() + "/backup/" + backup
	var paths, looks []string
	for _, p := range slices.Sorted(maps.Keys(expect)) {
		if err := checkPath(p); err != nil {
			return nil, fmt.Errorf("restoring %s on %v: %w", p, r, err)
		}
		paths = append(paths, p)
		looks = append(looks, base+"/files"+p, base+"/absent"+p)
	}
	found, err := ReadFiles(ctx, r, looks...)
	if err != nil {
		return nil, err
	}
	var edits []FileEdit
	for i, p := range paths {
		original, absent := found[2*i], found[2*i+1]
		switch {
		case original.Exists:
			edits = append(edits, FileEdit{Path: p, Expect: expect[p], Content: original.Content, Mode: original.Mode.Perm(),
				Owner: fmt.Sprintf("%d:%d", original.UID, original.GID), Validate: validate})
		case absent.Exists && expect[p] != "":
			edits = append(edits, FileEdit{Path: p, Expect: expect[p], Remove: true, Validate: validate})
		case !absent.Exists:
			return nil, fmt.Errorf("restoring %s on %v: the backup %s does not know it", p, r, backup)
		}
	}
	return Edit(ctx, r, backup, edits...)
}
