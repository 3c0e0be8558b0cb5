package copytest

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Format is how Dovecot stores mail.
type Format string

const (
	Maildir Format = "maildir" // a file for each message; hierarchy with dots
	MDBox   Format = "mdbox"   // many messages in a file; hierarchy with slashes
)

// mailUID is who mail belongs to on all servers.
const mailUID = 5000

//go:embed dovecot.conf.tmpl
var dovecotConf string

// What Dovecot 2.3.19 says of itself after login and before (imap_capability in its source). Its setting of that name
// can add to them, but to hide one of them takes the whole list.
const (
	dovecotCapabilities = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS " +
		"THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 " +
		"CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY " +
		"PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE"
	dovecotGreeting = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+"
)

// Dovecot starts a Dovecot that stores mail in a format.
func Dovecot(t testing.TB, format Format, options Options) *Server {
	t.Helper()
	return newServer(t, "Dovecot with "+string(format), needTree(t, "Dovecot", "dovecot-imapd"), options, &dovecot{format})
}

// Doveadm runs doveadm on a Dovecot server and returns what it printed. A mailbox gets another UIDVALIDITY, with the same
// UIDs, and those who have it open lose their connections, by
//
//	server.Doveadm(t, "mailbox", "update", "-u", user.Name, "--uid-validity", "77", "INBOX")
func (s *Server) Doveadm(t testing.TB, args ...string) string {
	t.Helper()
	return s.Command(t, slices.Concat([]string{"doveadm"}, args)...)
}

type dovecot struct{ format Format }

func (d *dovecot) prepare(s *Server) error { return s.chamber.ownDir("mail") }

func (d *dovecot) files(s *Server) (map[string]string, []string) {
	own := dovecotCapabilities
	if s.options.Quota != "" || s.options.MaxMessage > 0 {
		own += " QUOTA"
	}
	if s.options.ACL {
		own += " ACL RIGHTS=texk"
	}
	conf := expand(dovecotConf, map[string]any{
		"Options": s.options, "Format": d.format, "UID": mailUID,
		"IMAP": port(s.IMAP), "IMAPS": port(s.IMAPS),
		"Capabilities": capabilities(own, s.options),
		"Greeting":     capabilities(dovecotGreeting, Options{Hide: s.options.Hide}),
	})
	var users strings.Builder
	for _, user := range s.Users {
		fmt.Fprintf(&users, "%s:{PLAIN}%s:%d:%d::/srv/mail/%s::\n", user.Name, user.Password, mailUID, mailUID, user.Name)
	}
	return map[string]string{
		"etc/dovecot/dovecot.conf": conf,
		"etc/dovecot/users":        users.String(),
		"etc/dovecot/masters":      fmt.Sprintf("%s:{PLAIN}%s\n", Master().Name, Master().Password),
		"etc/dovecot/oauth2.conf": "introspection_mode = local\nusername_attribute = sub\n" +
			"local_validation_key_dict = fs:posix:prefix=/etc/dovecot/token/\n",
		"etc/dovecot/token/default/HS256/default": base64.StdEncoding.EncodeToString(s.tokenKey),
		"etc/dovecot/server.crt":                  s.certificate,
		"etc/dovecot/server.key":                  s.key,
		"etc/passwd": "root:x:0:0::/root:/bin/sh\ndovecot:x:101:101::/nonexistent:/bin/false\n" +
			"dovenull:x:102:102::/nonexistent:/bin/false\nvmail:x:5000:5000::/srv/mail:/bin/false\n",
		"etc/group": "root:x:0:\ndovecot:x:101:\ndovenull:x:102:\nvmail:x:5000:\n",
	}, []string{"/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"}
}

// capabilities returns those a server has to name itself, or "" if what it says of its own accord is right.
func capabilities(own string, options Options) string {
	if len(options.Hide) == 0 && len(options.Show) == 0 {
		return ""
	}
	shown := slices.DeleteFunc(strings.Fields(own), func(name string) bool { return slices.Contains(options.Hide, name) })
	return strings.Join(append(shown, options.Show...), " ")
}
