package postfix_dovecot

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/store.sh
var storeScript string

var _ mail.Copier = (*System)(nil)

// A store is where an account's mail lies on one server.
type store struct {
	home, uid, gid string
	// items are the paths below home that belong to the mail.
	items []string
}

// stores tells where stores are, which is asked once until Refresh.
func (s *System) stores(ctx context.Context, accounts []mail.Address) (map[mail.Address]store, error) {
	known := map[mail.Address]store{}
	var unknown []mail.Address
	s.mu.Lock()
	for _, a := range accounts {
		if st, ok := s.stored[a]; ok {
			known[a] = st
		} else {
			unknown = append(unknown, a)
		}
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return known, nil
	}
	found, err := s.findStores(ctx, unknown)
	if err != nil {
		return nil, err
	}
	maps.Copy(known, found)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		s.stored = map[mail.Address]store{}
	}
	maps.Copy(s.stored, found)
	return known, nil
}

// findStores asks Dovecot where stores are. It does not open them: that would make
// files in a store that is not yet in use.
func (s *System) findStores(ctx context.Context, accounts []mail.Address) (map[mail.Address]store, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"where"}
	for _, a := range accounts {
		args = append(args, l.login(a))
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "find the stores", Script: storeScript, Args: args})
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(res.Stdout), "\n"), "\n")
	if len(lines) != len(accounts) {
		return nil, fmt.Errorf("finding the stores on %v: %d answers for %d accounts", s.runner, len(lines), len(accounts))
	}
	found := map[mail.Address]store{}
	for i, a := range accounts {
		f := strings.Split(lines[i], "\t")
		if len(f) != 5 {
			return nil, fmt.Errorf("finding the store of %s on %v: unexpected answer %q", a, s.runner, lines[i])
		}
		st := store{home: path.Clean(f[0]), uid: f[1], gid: f[2]}
		location := f[3]
		if location == "" {
			location = find(l.dovecot, "mail_location")
		}
		if st.items, err = l.items(location, st.home); err != nil {
			return nil, fmt.Errorf("%v: %w", s.runner, err)
		}
		found[a] = st
	}
	return found, nil
}

// items returns the paths below home that hold mail, folders, subscriptions and
// scripts. The error says why the files cannot be copied as they are.
func (l *layout) items(location, home string) ([]string, error) {
	refuse := func(why string) error {
		return providers.Faultf("Use method dsync.", "the mail location %q %s", location, why)
	}
	if !path.IsAbs(home) || home == "/" {
		return nil, providers.Faultf(unsupported, "accounts have no home directory of their own in Dovecot's userdb")
	}
	driver, rest, _ := strings.Cut(location, ":")
	if driver != "maildir" {
		return nil, refuse("is no Maildir")
	}
	root, options, _ := strings.Cut(rest, ":")
	for _, o := range strings.Split(options, ":") {
		name, value, _ := strings.Cut(o, "=")
		if (name == "INDEX" && value != "MEMORY") || name == "CONTROL" {
			return nil, refuse("keeps its indexes elsewhere")
		}
	}
	box, ok := below(root, home)
	if !ok {
		return nil, refuse("is not below the home directory")
	}
	items := []string{box}
	sieve := "file:~/sieve;active=~/.dovecot.sieve"
	for _, s := range l.dovecot {
		if s.name == "plugin" {
			if v := s.value("sieve"); v != "" {
				sieve = v
			}
		}
	}
	for _, part := range strings.Split(strings.TrimPrefix(sieve, "file:"), ";") {
		if script, ok := below(strings.TrimPrefix(part, "active="), home); ok {
			items = append(items, script)
		}
	}
	return append(items, ".dovecot.lda-dupes"), nil
}

// below returns a path relative to home.
func below(p, home string) (string, bool) {
	p = strings.Replace(strings.Replace(p, "%h", "~", 1), "~", home, 1)
	rest, ok := strings.CutPrefix(path.Clean(p), home+"/")
	return rest, ok && !strings.Contains(rest, "%")
}

// Methods implements [mail.Copier].
func (s *System) Methods(ctx context.Context, peer mail.Server) ([]mail.Method, error) {
	other, err := s.platform(peer)
	if err != nil {
		return nil, err
	}
	here, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	there, err := other.look(ctx)
	if err != nil {
		return nil, err
	}
	if here.separators() != there.separators() {
		return []mail.Method{mail.Dsync}, nil
	}
	if _, err := here.items(find(here.dovecot, "mail_location"), "/home"); err != nil {
		return []mail.Method{mail.Dsync}, nil
	}
	if find(here.dovecot, "mail_location") != find(there.dovecot, "mail_location") {
		return []mail.Method{mail.Dsync}, nil
	}
	return []mail.Method{mail.Rsync, mail.Dsync}, nil
}

// separators tells how folders are named: where it differs, files are not the same
// folders.
func (l *layout) separators() string {
	var b strings.Builder
	for _, s := range l.dovecot {
		if s.name == "namespace" {
			fmt.Fprintf(&b, "%s %q %q %q;", s.text, s.value("prefix"), s.value("separator"), s.value("location"))
		}
	}
	return b.String()
}

func (s *System) platform(peer mail.Server) (*System, error) {
	other, ok := providers.As[*System](peer)
	if !ok {
		return nil, providers.Faultf("Use a recipe that copies over IMAP.", "copying from %s to a server of another platform (%s)", s.Platform(), peer.Platform())
	}
	return other, nil
}

// Copy implements [mail.Copier].
func (s *System) Copy(ctx context.Context, job mail.CopyJob, log providers.Log) (mail.Pass, error) {
	peer, err := s.platform(job.Peer)
	if err != nil {
		return mail.Pass{}, err
	}
	if err := peer.fenced(ctx); err != nil {
		return mail.Pass{}, err
	}
	from, err := s.stores(ctx, []mail.Address{job.Account})
	if err != nil {
		return mail.Pass{}, err
	}
	to, err := peer.stores(ctx, []mail.Address{job.Account})
	if err != nil {
		return mail.Pass{}, err
	}
	source, target := from[job.Account], to[job.Account]
	if job.Aside {
		args := append([]string{"aside", backupName(job.Op), target.home}, target.items...)
		if _, err := peer.runner.Run(ctx, remote.Command{Name: "set the store aside", Script: storeScript, Args: args}); err != nil {
			return mail.Pass{}, refusal(err)
		}
	}
	if job.Method == mail.Rsync || job.Method == mail.Dsync {
		if err := peer.remember(ctx, job.Account, job.Method); err != nil {
			return mail.Pass{}, err
		}
	}
	switch job.Method {
	case mail.Rsync:
		return s.rsync(ctx, peer, source, target)
	case mail.Dsync:
		return s.dsync(ctx, peer, job.Account, source, target)
	}
	return mail.Pass{}, &mail.OutcomeError{Outcome: providers.NotApplied, Err: fmt.Errorf("copying %s: postfix_dovecot has no method %q", job.Account, job.Method)}
}

// rsync carries files. The servers need no way to each other: a port on the
// source's loopback leads through here to an rsync daemon that lives for one
// connection on the peer's standard input and output, and asks for a secret of
// this pass.
func (s *System) rsync(ctx context.Context, peer *System, source, target store) (mail.Pass, error) {
	if strings.Join(source.items, "\n") != strings.Join(target.items, "\n") {
		return mail.Pass{}, providers.Faultf("Use method dsync.", "the stores on %v and %v are laid out differently", s.runner, peer.runner)
	}
	secret := rand.Text()
	res, err := peer.runner.Run(ctx, remote.Command{Name: "prepare to receive a store", Script: storeScript,
		Args: []string{"receive", target.home, target.uid, target.gid}, Stdin: []byte(secret)})
	if err != nil {
		return mail.Pass{}, refusal(err)
	}
	directory := strings.TrimSpace(string(res.Stdout))
	defer func() {
		// What is forgotten here is removed a day later by the next receive.
		_, _ = peer.runner.Run(context.WithoutCancel(ctx), remote.Command{Name: "end receiving", Script: storeScript, Args: []string{"forget", directory}})
	}()
	tunnel, err := s.runner.Forward(ctx, func(conn net.Conn) {
		stream, err := peer.runner.Stream(ctx, remote.Command{Name: "receive a store",
			Script: `exec rsync --server --daemon --config="$1/rsyncd.conf" .`, Args: []string{directory}})
		if err != nil {
			conn.Close()
			return
		}
		// rsync on both sides reports what breaks a connection.
		_ = remote.Bridge(conn, stream)
	})
	if err != nil {
		return mail.Pass{}, err
	}
	defer tunnel.Close()
	args := append([]string{"send", strconv.Itoa(tunnel.Port()), source.home}, source.items...)
	res, err = s.runner.Run(ctx, remote.Command{Name: "send a store", Script: storeScript, Args: args, Stdin: []byte(secret)})
	if err != nil {
		return mail.Pass{}, refusal(err)
	}
	return parsePass(string(res.Stdout))
}

func parsePass(text string) (mail.Pass, error) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return mail.Pass{}, fmt.Errorf("copying: unexpected answer %q", text)
	}
	var p mail.Pass
	var errs [3]error
	p.Messages, errs[0] = strconv.ParseInt(f[0], 10, 64)
	p.Bytes, errs[1] = strconv.ParseInt(f[1], 10, 64)
	p.Changed, errs[2] = strconv.ParseInt(f[2], 10, 64)
	return p, errors.Join(errs[:]...)
}
