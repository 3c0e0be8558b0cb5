package copytest

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"github.com/GehirnInc/crypt/sha512_crypt"
)

//go:embed courier.sh.tmpl
var courierScript string

// What Debian's Courier says of itself (IMAP_CAPABILITY in /etc/courier/imapd).
const courierCapabilities = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"

// Courier starts a Courier IMAP server: Maildir, mailboxes below "INBOX." with dots between the levels, and nothing that
// makes APPEND fast. It has no master user. Unlike Debian's it never empties the Trash.
func Courier(t testing.TB, options Options) *Server {
	t.Helper()
	refuse(t, "Courier", map[string]bool{
		"Separator": options.Separator != "", "Prefix": options.Prefix != "", "Quota": options.Quota != "",
		"MaxMessage": options.MaxMessage != 0, "Tokens": options.Tokens, "Sync": options.Sync, "ACL": options.ACL || options.ACLUser != "",
	})
	return newServer(t, "Courier", needTree(t, "Courier", "courier-imap", "courier-authlib-userdb", "perl", "dash", "coreutils"), options, courier{})
}

type courier struct{}

func (courier) prepare(s *Server) error {
	dirs := []string{"mail"}
	for _, user := range s.Users {
		home := "mail/" + user.Name
		dirs = append(dirs, home, home+"/Maildir", home+"/Maildir/cur", home+"/Maildir/new", home+"/Maildir/tmp")
	}
	for _, dir := range dirs {
		if err := s.chamber.ownDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (courier) files(s *Server) (map[string]string, []string) {
	var users strings.Builder
	for i, user := range s.Users {
		hash, err := sha512_crypt.New().Generate([]byte(user.Password), fmt.Appendf(nil, "$6$salt%d", i))
		if err != nil {
			panic(err) // the salt is of this package, and any password can be hashed
		}
		fmt.Fprintf(&users, "%s\thome=/srv/mail/%s|uid=%d|gid=%[3]d|systempw=%s\n", user.Name, user.Name, mailUID, hash)
	}
	return map[string]string{
		"etc/courier/userdb": users.String(),
		"etc/courier/authdaemonrc": "authmodulelist=authuserdb\nauthmodulelistorig=authuserdb\ndaemons=3\n" +
			"authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\nLOGGEROPTS=\n",
		"etc/courier/server.pem": s.certificate + s.key,
		"etc/passwd":             fmt.Sprintf("root:x:0:0::/root:/bin/sh\ncourier:x:120:120::/nonexistent:/bin/false\nvmail:x:%d:%[1]d::/srv/mail:/bin/false\n", mailUID),
		"etc/group":              fmt.Sprintf("root:x:0:\ncourier:x:120:\nvmail:x:%d:\n", mailUID),
		"etc/setup": expand(courierScript, map[string]any{
			"Options": s.options, "IMAP": port(s.IMAP), "IMAPS": port(s.IMAPS),
			"Capabilities": capabilities(courierCapabilities, s.options),
		}),
	}, []string{"/bin/sh", "/etc/setup"}
}
