package postfix_dovecot

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// A store is where an account's mail lies on one server.
type store struct {
	home, uid, gid string
	// format is Dovecot's name of it, and root the path where it begins. inbox is the
	// path of an INBOX that lies elsewhere, or "".
	format, root, inbox string
	// box is root below the home. It is empty, and why says why, if the files cannot
	// be copied as they are.
	box string
	why error
	// scripts are the other paths below home that belong to the mail.
	scripts []string
}

// items are all paths below home that rsync carries.
func (st store) items() []string { return append([]string{st.box}, st.scripts...) }

// beside are what belongs to the mail beside its root.
func (st store) beside() []string {
	if st.inbox == "" {
		return st.scripts
	}
	return append([]string{st.inbox}, st.scripts...)
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
		// To doveadm such a name is a pattern, which others may match.
		if strings.ContainsAny(l.login(a), "*?") {
			return nil, providers.Faultf("Move this account by hand, or give it a plain name first.",
				"copying %s: doveadm takes the name for a pattern", a)
		}
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
		location := f[3]
		if location == "" {
			location = find(l.dovecot, "mail_location")
		}
		st, err := l.store(l.login(a), f[0], location)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", s.runner, err)
		}
		st.uid, st.gid = f[1], f[2]
		found[a] = st
	}
	return found, nil
}

// store tells what of a home belongs to the mail.
func (l *layout) store(login, home, location string) (store, error) {
	st := store{home: path.Clean(home)}
	if !path.IsAbs(home) || st.home == "/" {
		return st, providers.Faultf(unsupported, "accounts have no home directory of their own in Dovecot's userdb")
	}
	driver, rest, _ := strings.Cut(location, ":")
	root, options, _ := strings.Cut(rest, ":")
	local, domain, _ := strings.Cut(login, "@")
	variables := strings.NewReplacer("%u", login, "%Lu", login, "%n", local, "%Ln", local, "%d", domain, "%Ld", domain, "%h", st.home)
	expand := func(p string) string {
		p = variables.Replace(p)
		if after, ok := strings.CutPrefix(p, "~"); ok {
			p = st.home + after
		}
		return path.Clean(p)
	}
	st.format, st.root = driver, expand(root)
	for _, o := range strings.Split(options, ":") {
		if p, ok := strings.CutPrefix(o, "INBOX="); ok {
			st.inbox = expand(p)
		}
	}
	for _, p := range []string{st.root, st.inbox} {
		if p != "" && (!path.IsAbs(p) || strings.Contains(p, "%")) {
			return st, providers.Faultf(unsupported, "where the mail of %s lies is not to be known from the mail location %q", login, location)
		}
	}
	if st.why = l.unlike(st, options, location); st.why == nil {
		st.box, _ = below(st.root, st.home)
	}
	sieve := "file:~/sieve;active=~/.dovecot.sieve"
	for _, s := range l.dovecot {
		if s.name == "plugin" {
			if v := s.value("sieve"); v != "" {
				sieve = v
			}
		}
	}
	for _, part := range strings.Split(strings.TrimPrefix(sieve, "file:"), ";") {
		if script, ok := below(strings.TrimPrefix(part, "active="), st.home); ok {
			st.scripts = append(st.scripts, script)
		}
	}
	st.scripts = append(st.scripts, ".dovecot.lda-dupes")
	return st, nil
}

// unlike says why rsync cannot make a copy of a store.
func (l *layout) unlike(st store, options, location string) error {
	refuse := func(why string) error {
		return providers.Faultf("Use method dsync.", "the mail location %q %s", location, why)
	}
	if st.format != "maildir" {
		return refuse("is no Maildir")
	}
	for _, o := range strings.Split(options, ":") {
		name, value, _ := strings.Cut(o, "=")
		if (name == "INDEX" && value != "MEMORY") || name == "CONTROL" {
			return refuse("keeps its indexes elsewhere")
		}
		if name == "INBOX" {
			return refuse("keeps the INBOX elsewhere")
		}
	}
	box, ok := below(st.root, st.home)
	if !ok {
		return refuse("is not below the home directory")
	}
	if strings.ContainsAny(box, "*?[\\\n") {
		return refuse("has characters that are a pattern to rsync")
	}
	return nil
}

// below returns a path relative to home.
func below(p, home string) (string, bool) {
	p = strings.Replace(strings.Replace(p, "%h", "~", 1), "~", home, 1)
	rest, ok := strings.CutPrefix(path.Clean(p), home+"/")
	return rest, ok && !strings.Contains(rest, "%")
}
