package postfix_dovecot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

var _ mail.AccountStore = (*System)(nil)

func errorAs[E error](err error) (E, bool) {
	var e E
	ok := errors.As(err, &e)
	return e, ok
}

// A passwdFile is Dovecot's: user:password:uid:gid:gecos:home:shell:fields.
type passwdFile struct {
	path, digest string
	lines        [][]string // split at the colons, at most eight fields
	changed      bool
}

const (
	fieldUser, fieldHash, fieldHome, fieldExtra = 0, 1, 5, 7
	passwdFields                                = 8
)

func parsePasswd(path string, content []byte) *passwdFile {
	f := &passwdFile{path: path, digest: remote.Digest(content)}
	for line := range bytes.Lines(content) {
		f.lines = append(f.lines, strings.SplitN(strings.TrimRight(string(line), "\n"), ":", passwdFields))
	}
	return f
}

func (f *passwdFile) find(login string) []string {
	i := slices.IndexFunc(f.lines, func(l []string) bool { return len(l) > 1 && l[fieldUser] == login })
	if i < 0 {
		return nil
	}
	return f.lines[i]
}

func (f *passwdFile) content() []byte {
	var b bytes.Buffer
	for _, l := range f.lines {
		b.WriteString(strings.Join(l, ":") + "\n")
	}
	return b.Bytes()
}

// put makes the account's line; an empty hash leaves that of the line as it is.
func (f *passwdFile) put(a mail.Account, hash string) error {
	login := string(a.Address)
	old := f.find(login)
	line := f.template(a.Address)
	if old != nil {
		line = append(slices.Clone(old), make([]string, passwdFields-len(old))...)
	}
	if hash != "" {
		line[fieldHash] = hash
	}
	if line[fieldHash] == "" {
		return fmt.Errorf("creating account %s: there is no password hash for it", a.Address)
	}
	line[fieldExtra] = withQuota(line[fieldExtra], a.Quota)
	if old != nil && slices.Equal(line, append(slices.Clone(old), make([]string, passwdFields-len(old))...)) {
		return nil
	}
	f.changed = true
	if old == nil {
		f.lines = append(f.lines, line)
		return nil
	}
	f.lines[slices.IndexFunc(f.lines, func(l []string) bool { return len(l) > 1 && l[fieldUser] == login })] = line
	return nil
}

// template is the line of a new account: where the server's other accounts name
// uid, gid and a home that follows from their address, the new one does too.
func (f *passwdFile) template(a mail.Address) []string {
	line := make([]string, passwdFields)
	line[fieldUser] = string(a)
	for _, sample := range f.lines {
		if len(sample) < passwdFields || strings.HasPrefix(sample[fieldUser], "#") {
			continue
		}
		other, err := mail.ParseAddress(sample[fieldUser])
		if err != nil || sample[2]+sample[3]+sample[fieldHome] == "" {
			continue
		}
		home := strings.ReplaceAll(sample[fieldHome], other.Domain(), a.Domain())
		line[2], line[3], line[fieldHome] = sample[2], sample[3], strings.ReplaceAll(home, other.Local(), a.Local())
		break
	}
	return line
}

const quotaField = "userdb_quota_rule="

// quota reads the limit in bytes from the fields of a line.
func quota(fields string) int64 {
	for _, field := range strings.Fields(fields) {
		rule, found := strings.CutPrefix(field, quotaField+"*:")
		if !found {
			continue
		}
		for _, limit := range strings.Split(rule, ":") {
			name, value, _ := strings.Cut(limit, "=")
			if unit, ok := map[string]int64{"bytes": 1, "storage": 1 << 10}[name]; ok {
				return size(value, unit)
			}
		}
	}
	return 0
}

// size reads Dovecot's sizes: a number with the suffix b, k, M, G, T or %, or else
// of the unit.
func size(text string, unit int64) int64 {
	units := map[byte]int64{'b': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30, 't': 1 << 40}
	lower := strings.ToLower(text)
	if n := len(lower); n > 0 && units[lower[n-1]] != 0 {
		unit, lower = units[lower[n-1]], lower[:n-1]
	}
	number, err := strconv.ParseInt(lower, 10, 64)
	if err != nil {
		return 0
	}
	return number * unit
}

// withQuota returns fields with the limit; 0 leaves it to the server's default.
func withQuota(fields string, limit int64) string {
	if quota(fields) == limit {
		return fields
	}
	kept := slices.DeleteFunc(strings.Fields(fields), func(f string) bool { return strings.HasPrefix(f, quotaField) })
	if limit > 0 {
		kept = append(kept, fmt.Sprintf("%s*:bytes=%d", quotaField, limit))
	}
	return strings.Join(kept, " ")
}

// accountFiles reads what accounts consist of.
func (s *System) accountFiles(ctx context.Context) (*passwdFile, []*mapFile, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	boxes, err := s.mapFiles(ctx, l, "virtual_mailbox_maps")
	if err != nil {
		return nil, nil, err
	}
	file, err := remote.ReadFile(ctx, s.runner, l.users)
	if err != nil {
		return nil, nil, err
	}
	return parsePasswd(l.users, file.Content), boxes, nil
}

// Accounts implements [mail.AccountStore]. An account is an address to which
// Postfix delivers and as which Dovecot lets somebody in.
func (s *System) Accounts(ctx context.Context, domain string) ([]mail.Account, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if l.system() {
		return s.systemAccounts(ctx, domain)
	}
	users, boxes, err := s.accountFiles(ctx)
	if err != nil {
		return nil, err
	}
	var accounts []mail.Account
	for _, line := range users.lines {
		a, err := mail.ParseAddress(line[fieldUser])
		if len(line) < 2 || err != nil || a.Domain() != domain || a.Local() == "" {
			continue
		}
		if !slices.ContainsFunc(boxes, func(f *mapFile) bool { _, found := f.find(string(a)); return found }) {
			continue
		}
		account := mail.Account{Address: a}
		if len(line) == passwdFields {
			account.Quota = quota(line[fieldExtra])
		}
		accounts = append(accounts, account)
	}
	slices.SortFunc(accounts, func(a, b mail.Account) int { return strings.Compare(string(a.Address), string(b.Address)) })
	return accounts, nil
}

// Credentials implements [mail.AccountStore].
func (s *System) Credentials(ctx context.Context, accounts []mail.Address) (map[mail.Address]mail.Credential, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if l.system() {
		return s.systemCredentials(ctx, accounts)
	}
	users, _, err := s.accountFiles(ctx)
	if err != nil {
		return nil, err
	}
	found := map[mail.Address]mail.Credential{}
	for _, a := range accounts {
		line := users.find(string(a))
		if line == nil || line[fieldHash] == "" {
			continue
		}
		hash := line[fieldHash]
		if !strings.HasPrefix(hash, "{") {
			hash = "{" + l.scheme + "}" + hash
		}
		found[a] = mail.NewCredential(canonical(hash))
	}
	return found, nil
}

// PutAccounts implements [mail.AccountStore].
func (s *System) PutAccounts(ctx context.Context, op string, accounts []mail.AccountEdit) error {
	l, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := s.checkHashes(ctx, accounts, l.system()); err != nil {
		return err
	}
	if l.system() {
		err = s.putSystemAccounts(ctx, accounts)
	} else {
		err = s.putVirtualAccounts(ctx, op, l, accounts)
	}
	if err != nil {
		return err
	}
	// Where the account is not at home its password is checked against a copy.
	var names []string
	for _, a := range accounts {
		names = append(names, string(a.Address))
	}
	_, err = s.homes(ctx, "refresh passwords", names, "refresh")
	return err
}

// putVirtualAccounts makes Dovecot know an account before Postfix accepts mail for
// it. Beside a catch-all a mailbox is only found if an alias names it itself
// (virtual(5)), so such an alias is part of an account there.
func (s *System) putVirtualAccounts(ctx context.Context, op string, l *layout, accounts []mail.AccountEdit) error {
	users, boxes, err := s.accountFiles(ctx)
	if err != nil {
		return err
	}
	aliases, err := s.mapFiles(ctx, l, "virtual_alias_maps")
	if err != nil {
		return err
	}
	if len(boxes) == 0 {
		return providers.Faultf(unsupported, "virtual_mailbox_maps of %v is empty", s.runner)
	}
	for _, a := range accounts {
		if err := users.put(a.Account, a.Credential.Reveal()); err != nil {
			return &mail.OutcomeError{Outcome: providers.NotApplied, Err: err}
		}
		key := string(a.Address)
		if !slices.ContainsFunc(boxes, func(f *mapFile) bool { _, found := f.find(key); return found }) {
			value := "ok"
			if n := len(boxes[0].entries); n > 0 && strings.Contains(boxes[0].entries[0].value, "/") {
				value = a.Address.Domain() + "/" + a.Address.Local() + "/"
			}
			boxes[0].set(key, value)
		}
		protect(aliases, a.Address)
	}
	if err := s.fenced(ctx); err != nil {
		return err
	}
	if users.changed {
		edit := remote.FileEdit{Path: users.path, Expect: users.digest, Content: users.content()}
		if _, err := remote.Edit(ctx, s.runner, backupName(op), edit); err != nil {
			return conflict(err)
		}
	}
	return s.write(ctx, op, append(boxes, aliases...)...)
}

// protect makes the identity entry of a mailbox where a catch-all would hide it.
func protect(aliases []*mapFile, a mail.Address) {
	for _, f := range aliases {
		if _, found := f.find(string(a)); found {
			return
		}
	}
	for _, f := range aliases {
		if _, found := f.find("@" + a.Domain()); found {
			f.set(string(a), string(a))
			return
		}
	}
}
