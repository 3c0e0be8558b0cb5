package demo

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns/zoneserver"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// The loopback addresses of everybody. A server knows its peer by its address, so
// that each needs one of its own; ports are whichever are free.
const (
	oldIP      = "127.0.17.1"
	newIP      = "127.0.17.2"
	obeyingIP  = "127.0.17.11"
	ignoringIP = "127.0.17.12"
)

// zoneText is the zone before the move. The TTL is short, and yet long enough that
// one sees it waited for.
const zoneText = `
@    4 IN SOA ns1 hostmaster 1 3600 600 86400 2
@    4 IN NS  ns1
ns1  4 IN A   127.0.0.1
@    4 IN MX  10 old
old  4 IN A   ` + oldIP + `
new  4 IN A   ` + newIP + `
imap 4 IN A   ` + oldIP + `
`

// world is what moves: two mail servers and a zone.
type world struct {
	people   *people
	old, new *server.Server
	zone     *zoneserver.Server
	tsig     string
	tokens   map[string]string // of the servers' control interfaces
	// smtp and imap are the ports that stand for 25 and 143, by IP address.
	smtp, imap map[string]int
}

func newWorld(p *people) (*world, error) {
	w := &world{people: p, tokens: map[string]string{}, smtp: map[string]int{}, imap: map[string]int{}}
	if err := w.start(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	w.old.AddDomain(domain)
	for _, a := range p.accounts {
		w.old.AddAccount(a.address, a.password, 0)
	}
	for address, members := range p.aliases {
		w.old.AddAlias(mail.Alias{Address: address, Members: members})
	}
	return w, nil
}

func (w *world) start() error {
	var err error
	if w.old, err = w.startServer("old", oldIP); err != nil {
		return err
	}
	if w.new, err = w.startServer("new", newIP); err != nil {
		return err
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	w.tsig = base64.StdEncoding.EncodeToString(key)
	w.zone, err = zoneserver.Start(zoneserver.Config{
		Zones: map[string]string{domain + ".": zoneText},
		Keys:  map[string]string{"mailmove.": w.tsig},
	})
	return err
}

func (w *world) startServer(name, ip string) (*server.Server, error) {
	w.tokens[name] = rand.Text()
	s, err := server.Start(server.NewDisk(), server.Options{Address: ip, Name: name + "." + domain, Token: w.tokens[name]})
	if err != nil {
		return nil, providers.Faultf(fmt.Sprintf("The demonstration needs the loopback addresses %s and %s. Linux has them; macOS is given them by \"sudo ifconfig lo0 alias ADDRESS\".", oldIP, newIP), "%w", err)
	}
	w.smtp[ip], w.imap[ip] = s.Endpoint().SMTP, s.Endpoint().IMAP
	return s, nil
}

func (w *world) close() error {
	for _, s := range []*server.Server{w.old, w.new} {
		if s != nil {
			s.Stop()
		}
	}
	if w.zone != nil {
		return w.zone.Close()
	}
	return nil
}

// dialFrom opens a connection whose source is a loopback address.
func dialFrom(ip string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
}

//go:embed move.mm.hcl.tmpl
var configuration string

func secretsDir(dir string) string { return filepath.Join(dir, "secrets") }

// write writes the configuration of the move, and the secrets it refers to.
func (w *world) write(dir string) error {
	t, err := template.New("move").Parse(configuration)
	if err != nil {
		return err
	}
	type entry struct {
		Local   string
		Aliases []string
	}
	var accounts []entry
	for _, a := range w.people.accounts {
		accounts = append(accounts, entry{a.address.Local(), w.people.named[a.address.Local()]})
	}
	var text bytes.Buffer
	err = t.Execute(&text, map[string]any{
		"Domain": domain, "Secrets": filepath.ToSlash(secretsDir(dir)), "Zone": w.zone.Address(),
		"Old": w.old.ControlURL(), "New": w.new.ControlURL(), "OldIP": oldIP, "NewIP": newIP,
		"Accounts": accounts, "Shared": w.people.shared, "CatchAll": w.people.catchAll,
	})
	if err != nil {
		return err
	}
	formatted, diags := config.Format("move.mm.hcl", text.Bytes())
	if err := diags.Err(); err != nil {
		return err
	}
	if err := os.Mkdir(secretsDir(dir), 0o700); err != nil {
		return err
	}
	files := map[string]string{"move.mm.hcl": string(formatted), "secrets/tsig": w.tsig}
	for name, token := range w.tokens {
		files["secrets/"+name] = token
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}
