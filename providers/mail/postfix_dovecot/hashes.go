package postfix_dovecot

import (
	"context"
	"fmt"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// A cryptMethod is a form of password hashes of crypt(5): both Dovecot and PAM leave
// them to crypt(3) of the C library, and which ones that knows differs.
type cryptMethod struct {
	prefix, scheme string
	vector         string // the hash of vectorPassword, by which a server shows that it knows the method
}

const vectorPassword = "mailmove"

var cryptMethods = []cryptMethod{
	{"$1$", "MD5-CRYPT", "$1$abcdefgh$moge0kdFsmajHYF/8uak/1"},
	{"$5$", "SHA256-CRYPT", "$5$abcdefgh$7oJuajitCE/2lJfvBzX3rpOu2W4jIjSIcrVwdXYdE63"},
	{"$6$", "SHA512-CRYPT", "$6$abcdefgh$ki9ljBTlLNDHyqZdhOWaM4jQ4fZZt5.RpyGz2kS9Abwt2ibjTKBAhmwgep7HxoKjY90Of4xRxhAw1fRxjatA70"},
	{"$2a$", "BLF-CRYPT", "$2a$04$abcdefghijklmnopqrstuuYTq2xUoqlfYh3CpncVcR30FIWg8L2G2"},
	{"$2b$", "BLF-CRYPT", "$2b$04$abcdefghijklmnopqrstuuYTq2xUoqlfYh3CpncVcR30FIWg8L2G2"},
	{"$2y$", "BLF-CRYPT", "$2y$04$abcdefghijklmnopqrstuuYTq2xUoqlfYh3CpncVcR30FIWg8L2G2"},
	{"$y$", "CRYPT", "$y$j75$abcdefgh$GCDLWeioR7S2JfUscPWH9DuEGpdBs1xs53CkJmFVJbB"},
	{"$gy$", "CRYPT", "$gy$j75$abcdefgh$BNIz3yCJ3kZzGQFX7DIFcABuRrp8Qr1vAlQzz4fzf84"},
	{"$7$", "CRYPT", "$7$5/..../....abcdefgh$jdDyMnZTgspyeNSzIDHgvq.F.5HVsoJ6DA3QY3EDciC"},
	{"$sha1$", "CRYPT", "$sha1$1$abcdefgh$iH3STcrEJWZBVDTSPjciSdhxsB2e"},
	{"", "CRYPT", "abqGWS197pTJk"}, // DES
}

func methodOf(crypted string) (cryptMethod, bool) {
	for _, m := range cryptMethods {
		if m.prefix != "" && strings.HasPrefix(crypted, m.prefix) || m.prefix == "" && crypted != "" && crypted[0] != '$' {
			return m, true
		}
	}
	return cryptMethod{}, false
}

// crypted returns a hash as crypt(3) has it; false if it is of a scheme of
// Dovecot's own.
func crypted(hash string) (string, bool) {
	scheme, rest, found := strings.Cut(strings.TrimPrefix(hash, "{"), "}")
	if !found || !strings.HasPrefix(hash, "{") {
		return hash, true
	}
	switch strings.ToUpper(scheme) {
	case "CRYPT", "DES-CRYPT", "MD5", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT":
		return rest, true
	}
	return "", false
}

// canonical names a hash of crypt(3) by the scheme that Dovecot has for its form,
// so that the hash is the same text on a server that keeps it without a scheme.
func canonical(hash string) string {
	if c, ok := crypted(hash); ok {
		if m, ok := methodOf(c); ok {
			return "{" + m.scheme + "}" + c
		}
	}
	return hash
}

// checkHashes refuses hashes by which nobody could log in on this server. The
// hashes themselves stay here: the server is asked for a known hash of each form.
func (s *System) checkHashes(ctx context.Context, accounts []mail.AccountEdit, system bool) error {
	var args []string
	first := map[string]mail.Address{} // by vector
	for _, a := range accounts {
		if a.Credential.IsZero() {
			continue
		}
		c, ok := crypted(a.Credential.Reveal())
		m, known := methodOf(c)
		switch {
		case ok && known && first["{CRYPT}"+m.vector] == "":
			first["{CRYPT}"+m.vector] = a.Address
			args = append(args, "{CRYPT}"+m.vector, vectorPassword)
		case ok && known || !system:
		default:
			return &mail.OutcomeError{Outcome: providers.NotApplied, Err: providers.Faultf(
				"Let "+string(a.Address)+" set the password anew on the old server, with a scheme of crypt(3) such as SHA512-CRYPT.",
				"copying the password hash of %s: it is of a form that users of the system on %v cannot have", a.Address, s.runner)}
		}
	}
	if len(args) == 0 {
		return nil
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "look which password hashes the server knows", Script: usersScript, Args: append([]string{"knows"}, args...)})
	if err != nil {
		return err
	}
	if unknown := strings.TrimSpace(string(res.Stdout)); unknown != "" {
		m, _ := methodOf(strings.TrimPrefix(unknown, "{CRYPT}"))
		return &mail.OutcomeError{Outcome: providers.NotApplied, Err: providers.Faultf(
			fmt.Sprintf("Let %s set the password anew on the old server, with a scheme that both know, such as SHA512-CRYPT.", first[unknown]),
			"copying the password hash of %s: crypt(3) on %v does not know the form %q", first[unknown], s.runner, orDefault(m.prefix, "DES"))}
	}
	return nil
}
