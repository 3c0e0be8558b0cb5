package lab

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

//go:embed all:files
var files embed.FS

// TSIG is the key that signs updates and transfers of the lab's zones (RFC 8945).
type TSIG struct{ Name, Algorithm, Secret string }

func newTSIG() TSIG {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return TSIG{Name: "mailmove.", Algorithm: "hmac-sha256", Secret: base64.StdEncoding.EncodeToString(secret)}
}

// values is what the templates of files/ may name.
type values struct {
	Name, FQDN, Address, Domain   string
	MovingDomain, NeighbourDomain string
	MailServer                    bool   // takes submissions and checks SPF
	SystemUsers                   bool   // has its users in /etc/passwd
	Realm                         string // the domain of those who log in with a name alone; "" for none
	IgnoresTTL                    bool
	RejectsSPF                    bool
	TSIG                          TSIG
	Zones                         []zone
}

// Peer returns the address of another host.
func (values) Peer(name string) string { return Address(name).String() }

func (l *Lab) values(r role) values {
	_, domain, _ := strings.Cut(r.fqdn, ".")
	realm := ""
	if l.Options.SystemUsers("old") {
		realm = MovingDomain
	}
	return values{
		Name: r.name, FQDN: r.fqdn, Address: r.address, Domain: domain,
		MovingDomain: MovingDomain, NeighbourDomain: NeighbourDomain,
		MailServer:  r.name == "old" || r.name == "new",
		SystemUsers: l.Options.SystemUsers(r.name), Realm: realm,
		IgnoresTTL: r.name == "stale",
		RejectsSPF: r.name == "new" && l.Options.SPF == "reject",
		TSIG:       l.TSIG,
		Zones:      l.zones(),
	}
}

// furnish writes the disk of every host.
func (l *Lab) furnish() error {
	if err := os.Mkdir(filepath.Join(l.dir, "records"), 0o755); err != nil {
		return err
	}
	l.TSIG = newTSIG()
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	keys, err := newSSHKeys()
	if err != nil {
		return err
	}
	for _, r := range roles {
		host := l.hosts[r.name]
		if err := l.furnishHost(r, host); err != nil {
			return fmt.Errorf("writing disk of %s: %w", r.name, err)
		}
		if err := authority.furnish(r, host); err != nil {
			return fmt.Errorf("writing certificates of %s: %w", r.name, err)
		}
		if err := keys.furnish(r, host); err != nil {
			return fmt.Errorf("writing SSH keys of %s: %w", r.name, err)
		}
	}
	if l.Options.Mailmove != "" {
		return copyProgram(l.Options.Mailmove, l.hosts["op"].Layer("usr/local/bin/mailmove"))
	}
	return nil
}

func (l *Lab) furnishHost(r role, host *machine.Host) error {
	if err := host.Prepare(); err != nil {
		return err
	}
	// The machine's own configuration of these daemons, if it has any, is none of the lab's.
	for _, dir := range []string{"etc/dovecot", "etc/ssh", "etc/unbound", "etc/bind", "etc/sudoers.d"} {
		if err := host.Hide(dir); err != nil {
			return err
		}
	}
	values := l.values(r)
	for _, tree := range l.trees(r) {
		if err := writeTree(host, tree, values); err != nil {
			return err
		}
	}
	if r.name == "dns" {
		for _, zone := range values.Zones {
			if err := writeFile(host.Layer("var/lib/bind/"+zone.File()), []byte(zone.text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// trees are the folders of files/ that make the disk of a host, in order.
func (l *Lab) trees(r role) []string {
	switch {
	case r.name != "old" && r.name != "new":
		return r.trees
	case l.Options.SystemUsers(r.name):
		return append(slices.Clone(r.trees), System)
	}
	return append(slices.Clone(r.trees), Virtual)
}

// writeTree expands the templates of files/tree into the host's disk. Programs of /etc/host are made executable.
func writeTree(host *machine.Host, tree string, values values) error {
	root, err := fs.Sub(files, "files/"+tree)
	if err != nil {
		return err
	}
	return fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		source, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		parsed, err := template.New(path).Option("missingkey=error").Parse(string(source))
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := parsed.Execute(&text, values); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(path, "etc/host/") {
			mode = 0o755
		}
		return writeFile(host.Layer(path), text.Bytes(), mode)
	})
}

// writeFile writes data and makes the directories above it. A directory that is new in a host's own layer is merged
// with the image's of the same name.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, mode)
}

func copyProgram(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("opening program: %w", err)
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	// Beside and renamed: the old one may be running.
	target, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return fmt.Errorf("copying %s: %w", from, err)
	}
	if err := target.Close(); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// Install puts the program at path on op as /usr/local/bin/mailmove.
func (l *Lab) Install(path string) error {
	target, err := l.hosts["op"].Path("usr/local/bin/mailmove")
	if err != nil {
		return err
	}
	return copyProgram(path, target)
}
