package copytest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofrs/flock"
)

// CacheDir is where the unpacked packages are kept between tests: below the user's cache directory, or /var/cache for a
// service that has no home. It may be removed at any time no test runs.
func CacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/var/cache"
	}
	return filepath.Join(dir, "mailmove-copytest")
}

// needTree returns the root file system that has packages and all they depend on. It skips the test where there can be
// none, in a sentence that says what is left out.
func needTree(t testing.TB, what string, packages ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("not root: nothing is tested with a real %s", what)
	}
	for _, program := range []string{"apt-get", "dpkg-deb", "mount", "chroot", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here, this is not a Debian: nothing is tested with a real %s", program, what)
		}
	}
	tree, err := ensureTree(CacheDir(), packages)
	var absent *absentError
	if errors.As(err, &absent) {
		t.Skipf("nothing is tested with a real %s: %v", what, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// absentError means that apt could not be asked or has no such package.
type absentError struct{ cause error }

func (e *absentError) Error() string { return e.cause.Error() }

// ensureTree unpacks packages and everything that they depend on, unless that was done before. Several may call it at
// once, in several processes: one works, the others wait.
func ensureTree(dir string, packages []string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making %s: %w", dir, err)
	}
	lock := flock.New(filepath.Join(dir, packages[0]+".lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Path(), err)
	}
	defer lock.Unlock()

	release, err := os.ReadFile("/etc/debian_version")
	if err != nil {
		return "", &absentError{fmt.Errorf("reading the release of Debian: %w", err)}
	}
	digest := sha256.Sum256([]byte(string(release) + strings.Join(packages, " ")))
	tree := filepath.Join(dir, fmt.Sprintf("%s-%x", packages[0], digest[:6]))
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	// Nobody else has the lock: what is there was left by a program that was killed.
	if err := removeAll(filepath.Join(dir, packages[0]+".unpacking-*")); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, packages[0]+".unpacking-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	debs, err := download(work, packages)
	if err != nil {
		return "", &absentError{err}
	}
	root := filepath.Join(work, "root")
	for _, deb := range debs {
		if err := run("dpkg-deb", "--extract", deb, root); err != nil {
			return "", err
		}
	}
	for _, unread := range []string{"doc", "man", "locale", "info"} {
		if err := os.RemoveAll(filepath.Join(root, "usr/share", unread)); err != nil {
			return "", err
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return "", err
	}
	return tree, os.Rename(root, tree)
}

// download fetches packages and everything that they depend on with apt, which is told that nothing is installed and
// keeps its lists below work.
func download(work string, packages []string) ([]string, error) {
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return nil, err
		}
	}
	status := filepath.Join(work, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	apt := []string{
		"apt-get", "-q", "-y", "--no-install-recommends", "--download-only",
		"-o", "Dir::State=" + filepath.Join(work, "state"),
		"-o", "Dir::Cache=" + filepath.Join(work, "cache"),
		"-o", "Dir::State::status=" + status,
		"-o", "APT::Sandbox::User=root", // the directory is root's
	}
	if err := run(slices.Concat(apt, []string{"update"})...); err != nil {
		return nil, err
	}
	if err := run(slices.Concat(apt, []string{"install"}, packages)...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(work, "cache/archives/*.deb"))
}

// removeAll removes the files and directories of a pattern.
func removeAll(pattern string) error {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, file := range found {
		if err := os.RemoveAll(file); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program to its end and shows its last words if it goes wrong.
func run(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("running %s: %w: %s", argv[0], err, text[max(0, len(text)-1000):])
	}
	return nil
}
