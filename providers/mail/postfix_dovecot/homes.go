package postfix_dovecot

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/homes.sh
var homesScript string

var (
	_ mail.Router     = (*System)(nil)
	_ mail.Doorkeeper = (*System)(nil)
	_ mail.Sentry     = (*System)(nil)
	_ mail.TrustStore = (*System)(nil)
)

// left is the mode of route and login that only a commit makes (doc.go).
const left = "left"

// expiredStatus is the status of homes.sh when an account of a handoff shall wait
// and no timer would free it.
const expiredStatus = 76

// undoneStatus is the status of homes.sh when something had been decided about an
// account that was not done yet.
const undoneStatus = 75

// homes runs a command of homes.sh.
func (s *System) homes(ctx context.Context, doing string, lines []string, args ...string) (string, error) {
	var input string
	if len(lines) > 0 {
		input = strings.Join(lines, "\n") + "\n"
	}
	epoch := s.held()
	if epoch != nil {
		args = append([]string{"--epoch", s.env.Lineage, strconv.FormatInt(epoch.Number, 10)}, args...)
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: doing, Script: homesScript, Args: args, Stdin: []byte(input)})
	if exit, ok := errorAs[*remote.ExitError](err); ok && exit.Status == staleStatus && epoch != nil {
		return "", s.stale(*epoch, string(res.Stdout))
	}
	if exit, ok := errorAs[*remote.ExitError](err); ok {
		switch exit.Status {
		case expiredStatus:
			return "", &mail.OutcomeError{Outcome: providers.NotApplied, Err: mail.ErrExpired}
		case undoneStatus:
			return "", s.again(doing, "an earlier handoff was decided and has only now been completed")
		}
	}
	return strings.TrimSpace(string(res.Stdout)), refusal(err)
}

// again is the error of something that was not done, because the server had changed
// since mailmove looked.
func (s *System) again(doing, why string) error {
	return &mail.OutcomeError{Outcome: providers.NotApplied, Err: &providers.Fault{
		Err: fmt.Errorf("%s on %v: %s", doing, s.runner, why), Next: "Run mailmove apply again.", Retry: true}}
}

// refusal makes an error of a script, which says in a sentence what is wrong, an
// error whose outcome is Partial: what was done so far is whole, and doing it
// again goes on.
func refusal(err error) error {
	var exit *remote.ExitError
	if errors.As(err, &exit) {
		return &mail.OutcomeError{Outcome: providers.Partial, Err: err}
	}
	return err
}

func routeLine(a mail.Address, r mail.Route, mode string) string {
	host, port := "-", 0
	if r.Mode == mail.Relay {
		host, port = r.Peer.Address, r.Peer.Relay
		if port == 0 {
			port = r.Peer.SMTP
		}
		if port == 0 {
			port = 25
		}
	}
	return fmt.Sprintf("%s %s %s %d", a, mode, host, port)
}

// Routes implements [mail.Router].
func (s *System) Routes(ctx context.Context, addresses []mail.Address) (map[mail.Address]mail.Route, error) {
	t, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	routes := map[mail.Address]mail.Route{}
	for _, a := range addresses {
		routes[a] = mail.Route{Mode: mail.Local}
		if r, ok := t.routes[a]; ok {
			routes[a] = r
		}
		if t.changing[a] {
			routes[a] = mail.Route{Mode: mail.Changing}
		}
	}
	return routes, nil
}

// SetRoutes implements [mail.Router].
func (s *System) SetRoutes(ctx context.Context, op string, routes map[mail.Address]mail.Route) error {
	var lines []string
	for _, a := range slices.Sorted(maps.Keys(routes)) {
		r := routes[a]
		switch r.Mode {
		case mail.Local, mail.Hold, mail.Relay:
		default:
			return &mail.OutcomeError{Outcome: providers.NotApplied, Err: providers.Faultf(
				"Use an alias with two members instead.", "routing %s: the platform postfix_dovecot has no mode %q", a, r.Mode)}
		}
		lines = append(lines, routeLine(a, r, string(r.Mode)))
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := s.homes(ctx, "set routes", lines, "routes", op)
	return err
}

func loginLine(l *layout, a mail.Address, login mail.Login, mode string) string {
	host, name := "-", "-"
	if login.Mode == mail.Proxied {
		host = login.Peer.Address
		if login.Peer.Name != "" {
			name = login.Peer.Name
		}
	}
	return fmt.Sprintf("%s %s %s %s %s %d %d", a, l.login(a), mode, host, name, login.Peer.IMAP, login.Peer.POP3)
}

// Logins implements [mail.Doorkeeper].
func (s *System) Logins(ctx context.Context, accounts []mail.Address) (map[mail.Address]mail.Login, error) {
	t, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	logins := map[mail.Address]mail.Login{}
	for _, a := range accounts {
		logins[a] = mail.Login{Mode: mail.Open}
		if l, ok := t.logins[a]; ok {
			logins[a] = l
		}
	}
	return logins, nil
}

// SetLogins implements [mail.Doorkeeper].
func (s *System) SetLogins(ctx context.Context, op string, logins map[mail.Address]mail.Login) error {
	l, err := s.look(ctx)
	if err != nil {
		return err
	}
	var lines []string
	for _, a := range slices.Sorted(maps.Keys(logins)) {
		lines = append(lines, loginLine(l, a, logins[a], string(logins[a].Mode)))
	}
	if len(lines) == 0 {
		return nil
	}
	_, err = s.homes(ctx, "set logins", lines, "logins", op)
	return err
}

// Trusts implements [mail.TrustStore].
func (s *System) Trusts(ctx context.Context) ([]mail.Trust, error) {
	t, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	return t.trusts, nil
}

// PutTrust implements [mail.TrustStore].
func (s *System) PutTrust(ctx context.Context, op string, trust mail.Trust, on bool) error {
	state := "off"
	if on {
		state = "on"
	}
	_, err := s.homes(ctx, "set trust", nil, "trust", trust.Peer, trust.Domain, state)
	return err
}

// Arm implements [mail.Sentry].
func (s *System) Arm(ctx context.Context, op string, account mail.Address, peer mail.Endpoint, within time.Duration) error {
	l, err := s.look(ctx)
	if err != nil {
		return err
	}
	after := []string{
		routeLine(account, mail.Route{Mode: mail.Relay, Peer: peer}, left),
		loginLine(l, account, mail.Login{Mode: mail.Proxied, Peer: peer}, left),
	}
	said, err := s.homes(ctx, "arm the dead-man's timer", after, "arm", op, strconv.Itoa(int(math.Ceil(within.Seconds()))))
	if err != nil {
		return err
	}
	doing := "arm the handoff of " + string(account)
	switch said {
	case "busy":
		return s.again(doing, "an earlier one was decided and has only now been completed")
	case "away":
		return s.again(doing, "the account is not at home there any more")
	}
	return nil
}

// Commit implements [mail.Sentry].
func (s *System) Commit(ctx context.Context, op string) error {
	said, err := s.homes(ctx, "commit the handoff", nil, "commit", op)
	switch {
	case err != nil:
		return err
	case mail.HandoffState(said) == mail.Expired:
		return mail.ErrExpired
	case mail.HandoffState(said) != mail.Committed:
		return fmt.Errorf("committing the handoff on %v: unexpected answer %q", s.runner, said)
	}
	return nil
}

// Handoff implements [mail.Sentry].
func (s *System) Handoff(ctx context.Context, op string) (mail.HandoffState, error) {
	said, err := s.homes(ctx, "look at the handoff", nil, "handoff", op)
	return mail.HandoffState(said), err
}

// Disarm implements [mail.Sentry].
func (s *System) Disarm(ctx context.Context, op string) error {
	_, err := s.homes(ctx, "end the handoff", nil, "disarm", op)
	return err
}

// tables are those of homes.sh.
type tables struct {
	routes map[mail.Address]mail.Route
	// changing are the addresses whose route Postfix has not been seen to follow.
	changing map[mail.Address]bool
	logins   map[mail.Address]mail.Login
	trusts   []mail.Trust
}

func (s *System) tables(ctx context.Context) (*tables, error) {
	text, err := s.homes(ctx, "read routes and logins", nil, "show")
	if err != nil {
		return nil, err
	}
	t, err := parseTables(text)
	if err != nil {
		return nil, fmt.Errorf("reading routes and logins of %v: %w", s.runner, err)
	}
	return t, nil
}

func parseTables(text string) (*tables, error) {
	t := &tables{routes: map[mail.Address]mail.Route{}, changing: map[mail.Address]bool{}, logins: map[mail.Address]mail.Login{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 5 && f[0] == "route":
			port, err := strconv.Atoi(f[4])
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			r := mail.Route{Mode: mail.RouteMode(f[2])}
			if f[2] == left {
				r.Mode, r.Left = mail.Relay, true
			}
			if r.Mode == mail.Relay {
				r.Peer = mail.Endpoint{Address: f[3], Relay: port}
			}
			t.routes[mail.Address(f[1])] = r
		case len(f) == 2 && f[0] == "changing":
			t.changing[mail.Address(f[1])] = true
		case len(f) == 8 && f[0] == "login":
			l := mail.Login{Mode: mail.LoginMode(f[3])}
			if f[3] == left {
				l.Mode, l.Left = mail.Proxied, true
			}
			if l.Mode == mail.Proxied {
				l.Peer.Address = f[4]
				if f[5] != "-" {
					l.Peer.Name = f[5]
				}
				var err1, err2 error
				l.Peer.IMAP, err1 = strconv.Atoi(f[6])
				l.Peer.POP3, err2 = strconv.Atoi(f[7])
				if err := errors.Join(err1, err2); err != nil {
					return nil, fmt.Errorf("line %q: %w", line, err)
				}
			}
			t.logins[mail.Address(f[1])] = l
		case len(f) == 3 && f[0] == "trust":
			t.trusts = append(t.trusts, mail.Trust{Peer: f[1], Domain: f[2]})
		default:
			return nil, fmt.Errorf("line %q cannot be read", line)
		}
	}
	return t, nil
}
