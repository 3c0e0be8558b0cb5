package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

// An authority signs the certificates of one lab and is trusted by all of its hosts.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailmove lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// furnish makes host trust the authority and gives a mail server its certificate. Both servers' certificates hold the
// names the users' programs know, as they must before such a move.
func (a *authority) furnish(r role, host *machine.Host) error {
	bundle, err := os.ReadFile(filepath.Join(host.Image, "upper/etc/ssl/certs/ca-certificates.crt"))
	if errors.Is(err, fs.ErrNotExist) { // the machine had it before the image was made
		bundle, err = os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	}
	if err != nil {
		return fmt.Errorf("reading trusted authorities: %w", err)
	}
	if err := writeFile(host.Layer("etc/ssl/certs/ca-certificates.crt"), append(bundle, a.pem()...), 0o644); err != nil {
		return err
	}
	if err := writeFile(host.Layer("usr/local/share/ca-certificates/lab.crt"), a.pem(), 0o644); err != nil {
		return err
	}
	if r.name != "old" && r.name != "new" {
		return nil
	}
	names := []string{r.fqdn, "mail." + NeighbourDomain}
	for _, service := range ServiceNames() {
		names = append(names, service+"."+MovingDomain)
	}
	certificate, key, err := a.issue(names)
	if err != nil {
		return err
	}
	if err := writeFile(host.Layer("etc/ssl/certs/mail.pem"), append(certificate, a.pem()...), 0o644); err != nil {
		return err
	}
	return writeFile(host.Layer("etc/ssl/private/mail.key"), key, 0o600)
}

func (a *authority) issue(names []string) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issuing certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}

// sshKeys are the host keys of every host and the operator's own.
type sshKeys struct {
	hosts    map[string]map[string]crypto.Signer // host → kind of key → key
	operator ed25519.PrivateKey
}

func newSSHKeys() (*sshKeys, error) {
	keys := &sshKeys{hosts: make(map[string]map[string]crypto.Signer)}
	for _, r := range roles {
		_, edwards, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		keys.hosts[r.name] = map[string]crypto.Signer{"ed25519": edwards, "ecdsa": curve}
	}
	var err error
	_, keys.operator, err = ed25519.GenerateKey(rand.Reader)
	return keys, err
}

// furnish gives host its keys, lets the operator in on the mail servers, and gives the operator its key and known_hosts.
func (k *sshKeys) furnish(r role, host *machine.Host) error {
	for kind, key := range k.hosts[r.name] {
		if err := writeKey(host.Layer("etc/ssh/ssh_host_"+kind+"_key"), key, r.fqdn); err != nil {
			return err
		}
	}
	switch r.name {
	case "old", "new":
		public, err := ssh.NewPublicKey(k.operator.Public())
		if err != nil {
			return err
		}
		return writeFile(host.Layer("etc/host/authorized_keys"), ssh.MarshalAuthorizedKey(public), 0o600)
	case "op":
		known, err := k.knownHosts()
		if err != nil {
			return err
		}
		if err := writeFile(host.Layer("root/.ssh/known_hosts"), known, 0o600); err != nil {
			return err
		}
		return writeKey(host.Layer("root/.ssh/id_ed25519"), k.operator, "root@op")
	}
	return nil
}

func (k *sshKeys) knownHosts() ([]byte, error) {
	var lines strings.Builder
	for _, r := range roles {
		for _, kind := range []string{"ed25519", "ecdsa"} {
			public, err := ssh.NewPublicKey(k.hosts[r.name][kind].Public())
			if err != nil {
				return nil, err
			}
			lines.WriteString(knownhosts.Line([]string{net.JoinHostPort(r.address, "22"), r.fqdn, r.name}, public) + "\n")
		}
	}
	return []byte(lines.String()), nil
}

func writeKey(path string, key crypto.Signer, comment string) error {
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return err
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writeFile(path+".pub", ssh.MarshalAuthorizedKey(public), 0o644); err != nil {
		return err
	}
	return writeFile(path, pem.EncodeToMemory(block), 0o600)
}
