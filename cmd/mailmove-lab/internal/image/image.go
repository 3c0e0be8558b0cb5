// Package image makes the file system that every host of a lab starts from: the running Debian, and on top of it the
// daemons that mail servers, name servers and their clients need.
//
// The packages are installed once with apt into an overlay kept as an ext4 file in the cache directory; the machine's
// own root is only read. A lab mounts that file read-only and puts it between its hosts' own layers and /:
//
//	host's own layer (read and write) → image (read only) → / of the machine (read only)
//
// It has to be a file system of its own: overlayfs refuses two lower layers of which one lies within the other.
//
// The file's name holds a digest of the package list, so that a changed list makes a new image, and it is built aside
// and renamed, so that a half-built one is never used.
package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

//go:embed build.sh
var buildScript string

// packages is what the hosts need beyond a minimal Debian.
var packages = strings.Fields(`
	bind9 bind9-dnsutils bind9-utils
	ca-certificates cron
	dovecot-core dovecot-imapd dovecot-lmtpd dovecot-managesieved dovecot-pop3d dovecot-sieve
	iproute2 openssh-client openssh-server openssl
	postfix postfix-policyd-spf-python procps
	rsync strace sudo unbound util-linux
`)

// DefaultDir is where images are kept between labs.
const DefaultDir = "/var/cache/mailmove-lab"

// Ensure returns the path of the image below dir, building it first if it is not there. That takes a minute or two and
// needs apt's sources to be reachable. progress is told, in a sentence, when there is something to wait for.
// Several may call it at once: one builds, the others wait.
func Ensure(ctx context.Context, dir string, progress func(string)) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making image directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Path(), err)
	}
	defer lock.Unlock()

	file := filepath.Join(dir, "image-"+digest()+".ext4")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	progress("installing the hosts' packages into " + file + " (once)")
	if err := build(ctx, dir, file); err != nil {
		return "", fmt.Errorf("building %s: %w", file, err)
	}
	return file, nil
}

func digest() string {
	release, _ := os.ReadFile("/etc/debian_version") // absent elsewhere: then apt will say what is wrong
	sum := sha256.Sum256([]byte(string(release) + buildScript + strings.Join(packages, " ")))
	return fmt.Sprintf("%x", sum[:6])
}

func build(ctx context.Context, dir, file string) error {
	work, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	partial := filepath.Join(work, "image")
	for _, argv := range [][]string{
		{"truncate", "-s", "4G", partial}, // sparse
		{"mkfs.ext4", "-q", "-O", "^has_journal", partial},
		append([]string{"sh", "-c", buildScript, "build", partial, filepath.Join(work, "mount")}, packages...),
	} {
		if err := run(ctx, argv); err != nil {
			return err
		}
	}
	return os.Rename(partial, file)
}

// run starts argv in a private mount namespace, and shows the end of its output if it goes wrong.
func run(ctx context.Context, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// Unshare, not Clone flags: Go then makes the mounts private before the program starts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		text := output.String()
		return fmt.Errorf("running %s: %w; its last words:\n%s", argv[0], err, text[max(0, len(text)-2000):])
	}
	return nil
}
