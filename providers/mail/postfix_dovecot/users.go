package postfix_dovecot

import (
	"context"
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/users.sh
var usersScript string

// systemUsers are the users of the system as passwd(5), shadow(5) and
// login.defs(5) have them.
type systemUsers struct {
	users    []systemUser
	min, max int      // of the user ids that belong to people
	made     []string // by us, perhaps without a password yet
}

type systemUser struct {
	name, home, hash string
	uid              int
}

// readUsers reads the users of the system.
func (s *System) readUsers(ctx context.Context) (*systemUsers, error) {
	files, err := remote.ReadFiles(ctx, s.runner, "/etc/passwd", "/etc/shadow", "/etc/login.defs", path.Join(s.runner.StateDir(), "users"))
	if err != nil {
		return nil, err
	}
	u, err := parseUsers(string(files[0].Content), string(files[1].Content), string(files[2].Content))
	if err != nil {
		return nil, fmt.Errorf("reading the users of %v: %w", s.runner, err)
	}
	u.made = strings.Fields(string(files[3].Content))
	return u, nil
}

func parseUsers(passwd, shadow, defs string) (*systemUsers, error) {
	u := &systemUsers{min: 1000, max: 60000}
	for line := range strings.Lines(defs) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "UID_MIN" && f[0] != "UID_MAX" {
			continue
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, fmt.Errorf("%s is %q in /etc/login.defs", f[0], f[1])
		}
		if f[0] == "UID_MIN" {
			u.min = n
		} else {
			u.max = n
		}
	}
	hashes := map[string]string{}
	for line := range strings.Lines(shadow) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 1 {
			hashes[f[0]] = f[1]
		}
	}
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 7 { // as nscd and NIS leave them: "+::::::"
			continue
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		user := systemUser{name: f[0], home: f[5], hash: f[1], uid: uid}
		if f[1] == "x" {
			user.hash = hashes[f[0]]
		}
		u.users = append(u.users, user)
	}
	return u, nil
}

func (u *systemUsers) find(name string) (systemUser, bool) {
	i := slices.IndexFunc(u.users, func(s systemUser) bool { return s.name == name })
	if i < 0 {
		return systemUser{}, false
	}
	return u.users[i], true
}

// canLogIn reports whether a user has a password: "!" and "*" lock it (shadow(5)).
func (u systemUser) canLogIn() bool { return u.hash != "" && u.hash[0] != '!' && u.hash[0] != '*' }

// people are the users that belong to people who can log in, and whom mail
// reaches: local(8) looks names up in lower case.
func (u *systemUsers) people(domain string) map[mail.Address]systemUser {
	found := map[mail.Address]systemUser{}
	for _, user := range u.users {
		if !user.canLogIn() || user.uid < u.min || user.uid > u.max {
			continue
		}
		if a, err := mail.ParseAddress(user.name + "@" + domain); err == nil && a.Local() == user.name {
			found[a] = user
		}
	}
	return found
}

// systemAccounts are the accounts of a server with system users. Each has an
// address in every domain of mydestination.
func (s *System) systemAccounts(ctx context.Context, domain string) ([]mail.Account, error) {
	u, err := s.readUsers(ctx)
	if err != nil {
		return nil, err
	}
	var accounts []mail.Account
	for a := range u.people(domain) {
		accounts = append(accounts, mail.Account{Address: a})
	}
	slices.SortFunc(accounts, func(a, b mail.Account) int { return strings.Compare(string(a.Address), string(b.Address)) })
	return accounts, nil
}

func (s *System) systemCredentials(ctx context.Context, accounts []mail.Address) (map[mail.Address]mail.Credential, error) {
	u, err := s.readUsers(ctx)
	if err != nil {
		return nil, err
	}
	found := map[mail.Address]mail.Credential{}
	for _, a := range accounts {
		if user, ok := u.people(a.Domain())[a]; ok {
			found[a] = mail.NewCredential(canonical("{CRYPT}" + user.hash))
		}
	}
	return found, nil
}

// userName is what can be a user's name on any Linux (useradd(8)); a number would be
// taken for a user id.
var userName = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]{0,31}$`)

// putSystemAccounts makes users of the system. A user who is there keeps all but
// the password.
func (s *System) putSystemAccounts(ctx context.Context, accounts []mail.AccountEdit) error {
	u, err := s.readUsers(ctx)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, a := range accounts {
		if err := u.allow(a); err != nil {
			return &mail.OutcomeError{Outcome: providers.NotApplied, Err: err}
		}
		hash, _ := crypted(a.Credential.Reveal())
		user, found := u.find(a.Address.Local())
		if hash == "" && found && user.canLogIn() || found && user.hash == hash {
			continue
		}
		if hash == "" {
			return &mail.OutcomeError{Outcome: providers.NotApplied, Err: fmt.Errorf("creating account %s: there is no password hash for it", a.Address)}
		}
		fmt.Fprintf(&lines, "%s:%s\n", a.Address.Local(), hash)
	}
	if err := s.fenced(ctx); err != nil || lines.Len() == 0 {
		return err
	}
	_, err = s.runner.Run(ctx, remote.Command{Name: "make users", Script: usersScript, Args: []string{"put"}, Stdin: []byte(lines.String())})
	return refusal(err)
}

// allow refuses what a user of the system cannot be or have.
func (u *systemUsers) allow(a mail.AccountEdit) error {
	name := a.Address.Local()
	user, found := u.find(name)
	switch {
	case a.Quota != 0:
		return providers.Faultf("Leave quota out, and set quota_rule in Dovecot for all.", "account %s: a user of the system has no limit of its own", a.Address)
	case !userName.MatchString(name) || strings.Trim(name, "0123456789") == "":
		return providers.Faultf("Give the person another name, with an alias for the address.", "creating account %s: %q cannot be the name of a user of the system", a.Address, name)
	case found && (user.uid < u.min || user.uid > u.max):
		return providers.Faultf("Give the person another name, with an alias for the address.",
			"creating account %s: %q is the name of a user that belongs to the system (uid %d)", a.Address, name, user.uid)
	case found && !user.canLogIn() && !slices.Contains(u.made, name):
		return providers.Faultf("Remove the user, or give it a password, if it is the same person.",
			"creating account %s: the server has a user %q without a password, whom mailmove has not made", a.Address, name)
	}
	return nil
}
