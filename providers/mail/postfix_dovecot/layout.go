package postfix_dovecot

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/look.sh
var lookScript string

// A layout is where a server keeps what we read and edit.
type layout struct {
	// postfix are parameters with references expanded.
	postfix map[string]string
	dovecot []setting
	version string
	// users is Dovecot's passwd-file; "" if the accounts are users of the system.
	users string
	// scheme is that of hashes without one in the passwd-file.
	scheme  string
	mapType string
	// sources are those of users in nsswitch.conf(5).
	sources []string
	// caFile holds the certificate authorities; "" if the peer's certificate cannot
	// be verified.
	caFile string
}

const unsupported = "mailmove moves accounts that are kept in a passwd-file and indexed maps, or in /etc/passwd. Move this server with recipe std/classic over IMAP, or tell us about its layout."

// look reads the layout, once until Refresh.
func (s *System) look(ctx context.Context) (*layout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.layout != nil {
		return s.layout, nil
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "look at the mail server", Script: lookScript})
	if err != nil {
		return nil, err
	}
	l, err := parseLayout(string(res.Stdout))
	if err != nil {
		return nil, fmt.Errorf("looking at %v: %w", s.runner, err)
	}
	s.layout = l
	return l, nil
}

func parseLayout(text string) (*layout, error) {
	parameters, config, _ := strings.Cut(text, "===\n")
	l := &layout{postfix: map[string]string{}}
	for line := range strings.Lines(parameters) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "missing":
			return nil, providers.Faultf("Install it on the server and run the command again.", "the program %s is missing", value)
		case "dovecot":
			l.version = value
		case "ca_file":
			l.caFile = value
		case "passwd_sources":
			l.sources = strings.Fields(value)
		default:
			l.postfix[name] = strings.TrimSpace(value)
		}
	}
	if l.postfix["mail_version"] == "" || l.version == "" {
		return nil, providers.Faultf(unsupported, "Postfix and Dovecot are not both installed")
	}
	if !strings.HasPrefix(l.version, "2.3.") {
		return nil, providers.Faultf("Dovecot 2.4 has another configuration language, which mailmove does not write yet.", "Dovecot %s is not supported, only 2.3", strings.Fields(l.version)[0])
	}
	var err error
	if l.dovecot, err = parseSettings(config); err != nil {
		return nil, err
	}
	if l.mapType, err = mapType(l.postfix["default_database_type"]); err != nil {
		return nil, err
	}
	if ca := find(l.dovecot, "ssl_ca"); ca != "" && !ours(ca, l.caFile) {
		l.caFile = "" // the administrator verifies clients by it: not ours to change
	}
	return l, l.findUsers()
}

// ours tells the value of ssl_ca that a claim has set.
func ours(value, caFile string) bool { return value == "<"+caFile }

// mapType accepts the types of maps that can be built beside the old one and put
// in place by rename.
func mapType(typ string) (string, error) {
	if slices.Contains([]string{"hash", "btree", "lmdb", "cdb", "texthash"}, typ) {
		return typ, nil
	}
	return "", providers.Faultf(unsupported, "maps of type %q cannot be edited by file", typ)
}

// findUsers finds where accounts are kept: the first passdb that is not ours.
func (l *layout) findUsers() error {
	theirs := l.theirs("passdb")
	if len(theirs) == 0 {
		return providers.Faultf(unsupported, "Dovecot has no passdb")
	}
	switch driver := theirs[0].value("driver"); driver {
	case "pam", "shadow", "passwd":
		return l.acceptSystemUsers(theirs)
	case "passwd-file":
		if f := find(l.dovecot, "auth_username_format"); f != "" && f != "%u" && f != "%Lu" {
			return providers.Faultf(unsupported, "Dovecot changes login names by auth_username_format = %s", f)
		}
		return l.virtualUsers(theirs[0].value("args"))
	default:
		return providers.Faultf(unsupported, "accounts are kept in Dovecot's passdb %q", driver)
	}
}

// theirs are the passdbs or userdbs for logins that the administrator has.
func (l *layout) theirs(section string) []setting {
	var found []setting
	for _, s := range l.dovecot {
		if s.name == section && !strings.Contains(s.value("args"), "/etc/dovecot/mailmove/") && s.value("master") != "yes" && s.value("deny") != "yes" {
			found = append(found, s)
		}
	}
	return found
}

func (l *layout) virtualUsers(args string) error {
	l.scheme = "CRYPT"
	for _, word := range strings.Fields(args) {
		name, value, found := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(word, "/"):
			l.users = word
		case found && name == "scheme":
			l.scheme = strings.ToUpper(value)
		case found && name == "username_format" && value != "%u" && value != "%Lu":
			return providers.Faultf(unsupported, "Dovecot's passwd-file is looked up by %s, not by the whole address", value)
		}
	}
	if l.users == "" || strings.Contains(l.users, "%") {
		return providers.Faultf(unsupported, "Dovecot's passwd-file %q is not one file", args)
	}
	return nil
}

// system reports whether the accounts are users of the system.
func (l *layout) system() bool { return l.users == "" }

// login is the name by which Dovecot knows an account.
func (l *layout) login(a mail.Address) string {
	if l.system() {
		return a.Local()
	}
	return string(a)
}

// delivery is what Postfix is told so that it delivers here, whatever the routes say.
func (l *layout) delivery() string {
	if !l.system() {
		if d := l.postfix["virtual_transport"]; strings.Contains(d, ":") {
			return d
		}
		return l.postfix["virtual_transport"] + ":"
	}
	return l.postfix["mailbox_transport"]
}

// settings is the file by which the scripts on the server know the layout.
func (l *layout) settings(port int) string {
	users := l.users
	if l.system() {
		users = "system"
	}
	group := find(l.dovecot, "default_internal_group")
	if group == "" {
		group = "dovecot"
	}
	return strings.Join([]string{
		"map_type=" + l.mapType,
		"delivery=" + l.delivery(),
		"delimiter=" + l.postfix["recipient_delimiter"],
		"users=" + users,
		"scheme=" + l.scheme,
		"auth_group=" + group,
		fmt.Sprintf("verify=%t", l.caFile != ""),
		fmt.Sprintf("spare=%t", l.spare()),
		"seen=/etc/postfix/mailmove/seen",
		fmt.Sprintf("port=%d", port),
	}, "\n") + "\n"
}

// spare reports whether processes that serve sessions wait for clients, or serve
// more than one: then not every such process is about to serve somebody.
func (l *layout) spare() bool {
	return slices.ContainsFunc(l.dovecot, func(s setting) bool {
		if s.name != "service" || !slices.Contains([]string{"imap", "pop3", "managesieve"}, s.text) {
			return false
		}
		kept, count := s.value("process_min_avail"), s.value("service_count")
		return kept != "" && kept != "0" || count != "" && count != "1"
	})
}

// A setting is one of Dovecot's, as doveconf -n prints it: a name and a value, or
// a section with settings of its own.
type setting struct {
	name, text string // text is the value, or the argument of a section
	nested     []setting
}

// value returns the value of a nested setting.
func (s setting) value(name string) string { return find(s.nested, name) }

func find(settings []setting, name string) string {
	for _, s := range settings {
		if s.name == name {
			return s.text
		}
	}
	return ""
}

// parseSettings reads what doveconf -n prints.
func parseSettings(text string) ([]setting, error) {
	root := &setting{}
	open := []*setting{root}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		top := open[len(open)-1]
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "}":
			if len(open) == 1 {
				return nil, fmt.Errorf("reading doveconf -n: a section ends that never began")
			}
			open = open[:len(open)-1]
			parent := open[len(open)-1]
			parent.nested = append(parent.nested, *top)
		case strings.HasSuffix(line, "{"):
			name, text, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(line, "{")), " ")
			open = append(open, &setting{name: name, text: text})
		default:
			name, text, _ := strings.Cut(line, "=")
			top.nested = append(top.nested, setting{name: strings.TrimSpace(name), text: strings.TrimSpace(text)})
		}
	}
	if len(open) != 1 {
		return nil, fmt.Errorf("reading doveconf -n: the section %s does not end", open[len(open)-1].name)
	}
	return root.nested, nil
}
