package copytest

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

//go:embed cyrus.conf.tmpl
var cyrusConf string

//go:embed imapd.conf.tmpl
var cyrusImapdConf string

// Cyrus starts a Cyrus IMAP server. As its package has it, mailboxes are below "INBOX." with dots between the levels;
// "unixhierarchysep: yes" and "altnamespace: yes" in [Options.Config] change that. A user's INBOX is made at the first
// login. [Master] may log in for others by SASL PLAIN with an authorisation identity.
func Cyrus(t testing.TB, options Options) *Server {
	t.Helper()
	refuse(t, "Cyrus", map[string]bool{
		"Separator": options.Separator != "", "Prefix": options.Prefix != "", "Quota": options.Quota != "",
		"Show": len(options.Show) > 0, "Tokens": options.Tokens, "Sync": options.Sync, "ACL": options.ACL || options.ACLUser != "",
	})
	return newServer(t, "Cyrus", needTree(t, "Cyrus", "cyrus-imapd", "libsasl2-modules", "sasl2-bin", "dash", "coreutils"), options, cyrus{})
}

// refuse ends the test if it uses options that a server has no word for.
func refuse(t testing.TB, server string, used map[string]bool) {
	t.Helper()
	for option, is := range used {
		if is {
			t.Fatalf("%s cannot be started with %s", server, option)
		}
	}
}

type cyrus struct{}

func (cyrus) prepare(s *Server) error {
	for _, dir := range []string{"mail", "cyrus", "cyrus/db", "cyrus/socket", "cyrus/proc", "cyrus/lock"} {
		if err := s.chamber.ownDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (cyrus) files(s *Server) (map[string]string, []string) {
	values := map[string]any{"Options": s.options, "IMAP": s.IMAP, "IMAPS": s.IMAPS, "ServerName": ServerName, "Master": Master().Name}
	// The data base of passwords is written by its own program, which takes them from standard input.
	setup := "set -eu\nmkdir -p /run/cyrus\n"
	for _, user := range append([]User{Master()}, s.Users...) {
		name, realm, ok := strings.Cut(user.Name, "@")
		if !ok {
			realm = ServerName
		}
		setup += fmt.Sprintf("printf %%s %s | saslpasswd2 -p -c -f /etc/sasldb2 -u %s %s\n", shellQuote(user.Password), shellQuote(realm), shellQuote(name))
	}
	setup += "chown cyrus /etc/sasldb2 /etc/server.key\nexec /usr/lib/cyrus/bin/master -p /run/cyrus.pid -C /etc/imapd.conf -M /etc/cyrus.conf\n"
	return map[string]string{
		"etc/cyrus.conf": expand(cyrusConf, values),
		"etc/imapd.conf": expand(cyrusImapdConf, values),
		"etc/server.crt": s.certificate,
		"etc/server.key": s.key,
		"etc/passwd":     fmt.Sprintf("root:x:0:0::/root:/bin/sh\ncyrus:x:%d:8::/srv/cyrus:/bin/sh\n", mailUID),
		"etc/group":      "root:x:0:\nmail:x:8:cyrus\nsasl:x:45:cyrus\n",
		"etc/setup":      setup,
	}, []string{"/bin/sh", "/etc/setup"}
}

func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
