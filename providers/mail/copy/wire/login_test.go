package wire_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/emersion/go-imap/v2"

	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// password is one that would be seen in an error.
const password = `pass"word`

func murphy() wire.Login { return wire.Login{User: "murphy", Secret: secret(password)} }

func by(mechanism wire.Mechanism) wire.Login {
	login := murphy()
	login.Mechanism = mechanism
	return login
}

// Ways to log in that end well: the script has what the client says, byte for byte.
func TestLogins(t *testing.T) {
	master := wire.Login{User: "murphy", Master: "root", Secret: secret(password)}
	starred := master
	starred.Separator = "*"
	umlaut := wire.Login{User: "murphy", Secret: secret("pä")}
	for _, test := range []struct {
		name  string
		caps  string
		login wire.Login
		play  func(*script)
	}{
		{"PLAIN at once", "AUTH=PLAIN SASL-IR", murphy(), func(s *script) {
			s.expect("M1 AUTHENTICATE PLAIN " + b64("\x00murphy\x00"+password))
		}},
		{"PLAIN when asked", "AUTH=PLAIN", murphy(), func(s *script) {
			s.answer("M1 AUTHENTICATE PLAIN", "+ \r\n")
			s.expect(b64("\x00murphy\x00" + password))
		}},
		{"PLAIN, and a server that sends no space", "AUTH=PLAIN", murphy(), func(s *script) {
			s.answer("M1 AUTHENTICATE PLAIN", "+\r\n")
			s.expect(b64("\x00murphy\x00" + password))
		}},
		{"master by identity", "auth=plain sasl-ir", master, func(s *script) {
			s.expect("M1 AUTHENTICATE PLAIN " + b64("murphy\x00root\x00"+password))
		}},
		{"master by name", "AUTH=PLAIN SASL-IR", starred, func(s *script) {
			s.expect("M1 AUTHENTICATE PLAIN " + b64("\x00murphy*root\x00"+password))
		}},
		{"LOGIN", "", murphy(), func(s *script) { s.expect(`M1 LOGIN "murphy" "pass\"word"`) }},
		{"LOGIN, the master by name", "", starred, func(s *script) { s.expect(`M1 LOGIN "murphy*root" "pass\"word"`) }},
		{"LOGIN with 8 bits", "", umlaut, func(s *script) {
			s.answer(`M1 LOGIN "murphy" {3}`, "+ go\r\n")
			s.expect("pä")
		}},
		{"LOGIN with 8 bits and LITERAL+", "LITERAL+", umlaut, func(s *script) {
			s.expect(`M1 LOGIN "murphy" {3+}`)
			s.expect("pä")
		}},
		{"AUTHENTICATE LOGIN", "LOGINDISABLED AUTH=LOGIN", murphy(), func(s *script) {
			s.answer("M1 AUTHENTICATE LOGIN", "+ "+b64("Username:")+"\r\n")
			s.answer(b64("murphy"), "+ "+b64("Password:")+"\r\n")
			s.expect(b64(password))
		}},
		{"XOAUTH2", "AUTH=XOAUTH2 SASL-IR", by(wire.XOAuth2), func(s *script) {
			s.expect("M1 AUTHENTICATE XOAUTH2 " + b64("user=murphy\x01auth=Bearer "+password+"\x01\x01"))
		}},
		{"OAUTHBEARER", "AUTH=OAUTHBEARER SASL-IR", by(wire.OAuthBearer), func(s *script) {
			s.expect("M1 AUTHENTICATE OAUTHBEARER " + b64("n,a=murphy,\x01auth=Bearer "+password+"\x01\x01"))
		}},
		{"EXTERNAL", "AUTH=EXTERNAL SASL-IR", wire.Login{Mechanism: wire.External}, func(s *script) {
			s.expect("M1 AUTHENTICATE EXTERNAL =")
		}},
		{"EXTERNAL when asked", "AUTH=EXTERNAL", wire.Login{Mechanism: wire.External, User: "murphy"}, func(s *script) {
			s.answer("M1 AUTHENTICATE EXTERNAL", "+ \r\n")
			s.expect(b64("murphy"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, pace := range []func(wire.Endpoint) wire.Endpoint{func(e wire.Endpoint) wire.Endpoint { return e }, slowly} {
				conn := dial(t, pace(talk(t, func(s *script) {
					s.send("* OK [CAPABILITY IMAP4rev1 " + test.caps + "] hello\r\n")
					test.play(s)
					s.send("M1 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n")
				})), test.login)
				if !conn.Caps().Has(imap.CapUIDPlus) || conn.Caps().Has(imap.CapSASLIR) {
					t.Errorf("capabilities %v, want those after the login", conn.Caps())
				}
			}
		})
	}
}

// Where the capabilities are learned from, before and after the login.
func TestCapabilities(t *testing.T) {
	for _, test := range []struct {
		name string
		play func(*script)
	}{
		{"in the greeting and the answer", func(s *script) {
			s.send("* OK [CAPABILITY IMAP4rev1 X] hello\r\n")
			s.answer(`M1 LOGIN "murphy" "pass\"word"`, "M1 OK [CAPABILITY imap4REV1 Multiappend] in\r\n")
		}},
		{"asked for", func(s *script) {
			s.send("* OK hello\r\n")
			s.answer("M1 CAPABILITY", "* CAPABILITY IMAP4rev1 X\r\nM1 OK done\r\n")
			s.answer(`M2 LOGIN "murphy" "pass\"word"`, "M2 OK in\r\n")
			s.answer("M3 CAPABILITY", "* CAPABILITY IMAP4rev1 MULTIAPPEND\r\nM3 OK done\r\n")
		}},
		{"between", func(s *script) {
			s.send("* OK [CAPABILITY IMAP4rev1 X] hello\r\n")
			s.answer(`M1 LOGIN "murphy" "pass\"word"`, "* CAPABILITY IMAP4rev1 MULTIAPPEND\r\nM1 OK in\r\n")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			caps := dial(t, talk(t, test.play), murphy()).Caps()
			if !caps.Has(imap.CapIMAP4rev1) || !caps.Has(imap.CapMultiAppend) || caps.Has("X") {
				t.Errorf("capabilities %v", caps)
			}
		})
	}
}

func TestServerID(t *testing.T) {
	conn := dial(t, talk(t, func(s *script) {
		greet(s, "ID ENABLE")
		s.answer(`M1 ID ("name" "mailmove")`, "* ID (\"Name\" \"a \\\"b\\\"\" \"vendor\" NIL \"version\" {3}\r\n1.0)\r\nM1 OK\r\n")
		s.answer("M2 ENABLE CONDSTORE QRESYNC", "* ENABLED CONDSTORE\r\nM2 OK\r\n")
		s.answer("M3 ENABLE X", "M3 BAD no\r\n")
	}), nobody)
	if got := fmt.Sprint(conn.ServerID()); got != `map[name:a "b" version:1.0]` {
		t.Errorf("the server's ID is %s", got)
	}
	enabled, err := conn.Enable(deadline(t), imap.CapCondStore, imap.CapQResync)
	if err != nil || len(enabled) != 1 || !enabled.Has(imap.CapCondStore) {
		t.Errorf("enabled %v, error %v", enabled, err)
	}
	_, err = conn.Enable(deadline(t), "X")
	as[*wire.RefusedError](t, err)
}

// Logins that do not end well: the kind of error, what it says, and that no error shows
// the secret, also if the server repeats what it heard.
func TestLoginRefusals(t *testing.T) {
	plain := func(answer string) func(*script) {
		return func(s *script) { s.answer("M1 AUTHENTICATE PLAIN "+b64("\x00murphy\x00"+password), answer) }
	}
	const want = "logging in to imap.example.com:143 as murphy by PLAIN: "
	for _, test := range []struct {
		name      string
		caps      string
		login     wire.Login
		play      func(*script)
		want      string // how the error begins
		temporary bool
	}{
		{"wrong password", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 NO [AUTHENTICATIONFAILED] wrong\a \x1b[31mpassword\r\n"), want + "[AUTHENTICATIONFAILED] wrong   [31mpassword", false},
		{"no words", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 NO\r\n"), want + "nothing", false},
		{"repeated secrets", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 BAD cannot " + password + " or " + b64("\x00murphy\x00"+password) + " \"pass\\\"word\"\r\n"), want + `cannot *** or *** "***"`, false},
		{"secrets in garbage", "AUTH=PLAIN SASL-IR", murphy(), plain("M2 " + password + "\r\n"), "logging in by PLAIN: imap.example.com:143 does not speak IMAP as it should: it sent an answer that is none of OK, NO and BAD: M2 ***", false},
		{"not now", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 NO [UNAVAILABLE] later\r\n"), "logging in as murphy, server imap.example.com:143: not now: [UNAVAILABLE] later", true},
		{"in use", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 NO [INUSE] later\r\n"), "logging in as murphy, server imap.example.com:143: not now: [INUSE] later", true},
		{"limit", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 NO [LIMIT] enough\r\n"), "logging in as murphy, server imap.example.com:143: not now: [LIMIT] enough", true},
		{"too many, in words", "AUTH=PLAIN SASL-IR", murphy(), plain("M1 NO [ALERT] Too many simultaneous connections. (Failure)\r\n"), "logging in as murphy, server imap.example.com:143: not now: [ALERT] Too many", true},
		{"BYE", "AUTH=PLAIN SASL-IR", murphy(), plain("* BYE bored\r\n"), "logging in by PLAIN: the connection to imap.example.com:143 was lost: the server said: bored", true},
		{"hangs up", "AUTH=PLAIN SASL-IR", murphy(), plain(""), "logging in by PLAIN: the connection to imap.example.com:143 was lost: ", true},
		{"LOGINDISABLED", "LOGINDISABLED AUTH=GSSAPI AUTH=EXTERNAL", murphy(), nil, "logging in to imap.example.com:143 as murphy by a password: the server does not offer it here; it offers: EXTERNAL, GSSAPI", false},
		{"no XOAUTH2", "", by(wire.XOAuth2), nil, "logging in to imap.example.com:143 as murphy by XOAUTH2: the server does not offer it here; it offers: none", false},
		{"no identity for a master", "", wire.Login{User: "murphy", Master: "root", Secret: secret(password)}, nil, "logging in to imap.example.com:143 as root for murphy by PLAIN: the server does not offer it", false},
		{"LOGIN refused before the literal", "", wire.Login{User: "murphy", Secret: secret("pä")}, func(s *script) {
			s.answer(`M1 LOGIN "murphy" {3}`, "M1 NO no literals\r\n")
		}, "logging in to imap.example.com:143 as murphy by LOGIN: no literals", false},
		{"XOAUTH2 refused", "AUTH=XOAUTH2 SASL-IR", by(wire.XOAuth2), func(s *script) {
			s.line()
			s.send("+ " + b64(`{"status":"400","schemes":"Bearer"}`) + "\r\n")
			s.answer("", "M1 NO [AUTHENTICATIONFAILED] Invalid credentials\r\n")
		}, "logging in to imap.example.com:143 as murphy by XOAUTH2: [AUTHENTICATIONFAILED] Invalid", false},
		{"OAUTHBEARER refused", "AUTH=OAUTHBEARER SASL-IR", by(wire.OAuthBearer), func(s *script) {
			s.line()
			s.send("+ " + b64(`{"status":"invalid_token"}`) + "\r\n")
			s.answer(b64("\x01"), "M1 NO no\r\n")
		}, "logging in to imap.example.com:143 as murphy by OAUTHBEARER: no", false},
		{"a challenge too many", "AUTH=PLAIN SASL-IR", murphy(), func(s *script) {
			s.line()
			s.send("+ more\r\n")
			s.answer("*", "M1 BAD cancelled\r\n")
		}, want + "cancelled", false},
		{"NUL in the secret", "AUTH=PLAIN", wire.Login{User: "murphy", Secret: secret(password + "\x00x")}, nil, "logging in to imap.example.com:143 as murphy by password: a NUL byte", false},
		{"no secret", "AUTH=PLAIN", wire.Login{User: "murphy"}, nil, "reading the secret of murphy: none is given", false},
		{"a login where none is to be", "", nobody, nil, "logging in to imap.example.com:143 as nobody by name by PREAUTH: the server wants a login", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := wire.Dial(deadline(t), talk(t, func(s *script) {
				s.send("* OK [CAPABILITY IMAP4rev1 " + test.caps + "] hello\r\n")
				if test.play != nil {
					test.play(s)
				}
			}), test.login)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), password) {
				t.Errorf("the secret is in the error: %v", err)
			}
			var temporary interface{ Temporary() bool }
			if got := errors.As(err, &temporary) && temporary.Temporary(); got != test.temporary {
				t.Errorf("temporary is %v, want %v: %v", got, test.temporary, err)
			}
			var hint interface{ Hint() string }
			if errors.As(err, &hint) && hint.Hint() == "" {
				t.Errorf("no hint for %v", err)
			}
		})
	}
}

// A server that says PREAUTH has not logged in who we wanted.
func TestPreauthIsNotALogin(t *testing.T) {
	_, err := wire.Dial(deadline(t), talk(t, func(s *script) { greet(s, "") }), murphy())
	as[*wire.LoginError](t, err)
}

// A server that is silent ends Dial, at whatever step.
func TestDialSilence(t *testing.T) {
	for name, play := range map[string]func(*script){
		"no greeting":  func(s *script) { s.gone() },
		"half a line":  func(s *script) { s.send("* OK [CAPABILITY IMAP4rev1"); s.gone() },
		"no answer":    func(s *script) { s.send("* OK [CAPABILITY IMAP4rev1] hello\r\n"); s.line(); s.gone() },
		"no handshake": func(s *script) { s.drain() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				endpoint := talk(t, play)
				if name == "no handshake" {
					endpoint.TLS = wire.ImplicitTLS
				}
				_, err := wire.Dial(t.Context(), endpoint, murphy())
				as[*wire.SilenceError](t, err)
				as[*wire.LostError](t, err)
			})
		})
	}
}
