package traffic

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
)

// The header fields by which the audit knows a message and sees that its body is whole.
const (
	MarkerField = "X-Lab-Marker"
	DigestField = "X-Lab-Digest"
)

// A message is on its way.
type message struct {
	marker     string
	sender     string          // envelope
	user       *people.Account // who submits it, or nil
	recipients []string        // that have not got it yet
	text       []byte
}

func newMessage(random *rand.Rand, s *source, marker string) *message {
	m := &message{marker: marker, recipients: recipients(random, s.population, s.users)}
	if s.users {
		users := writers(s.population)
		m.user = &users[random.IntN(len(users))]
		m.sender = m.user.Address()
	} else {
		domain := map[string]string{"sender": lab.SenderDomain, "stale": lab.StaleDomain}[s.name]
		m.sender = "writer+" + marker + "@" + domain
	}
	var body strings.Builder
	for range 1 + random.IntN(40) {
		fmt.Fprintf(&body, "%016x %016x %016x %016x\r\n", random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
	}
	var header strings.Builder
	subject := "Live " + marker
	if random.IntN(20) == 0 {
		subject += " [filing]" // the users' Sieve script files it
	}
	fmt.Fprintf(&header, "Date: %s\r\nFrom: <%s>\r\nTo: undisclosed-recipients:;\r\nSubject: %s\r\n", time.Now().Format(time.RFC1123Z), m.sender, subject)
	if random.IntN(10) != 0 {
		fmt.Fprintf(&header, "Message-ID: <%s@lab.example>\r\n", marker)
	}
	fmt.Fprintf(&header, "%s: %s\r\n%s: %s\r\n\r\n", MarkerField, marker, DigestField, Digest([]byte(body.String())))
	m.text = []byte(header.String() + body.String())
	return m
}

// Digest returns what [DigestField] holds for a body.
func Digest(body []byte) string { return fmt.Sprintf("%x", sha256.Sum256(body)) }

// writers returns those who can write and read the answer.
func writers(p *people.Population) []people.Account {
	var open []people.Account
	for _, a := range p.Moving() {
		if !a.Full {
			open = append(open, a)
		}
	}
	return open
}

// recipients chooses one of the ways to address somebody. Users do not write to the neighbour: both servers take its domain
// for their own and each knows one of its accounts only, so that the old account cannot be reached from the new server.
func recipients(random *rand.Rand, p *people.Population, users bool) []string {
	accounts := writers(p)
	someone := accounts[random.IntN(len(accounts))]
	tagged := fmt.Sprintf("%s+t%d@%s", someone.Local, random.IntN(100), someone.Domain)
	at := "@" + p.Domain
	alias := []string{"info", "sales", "verkauf", "postmaster"}[random.IntN(4)]
	n := random.IntN(100)
	if n >= 82 && n < 90 && !p.CatchAll() {
		n = 0
	}
	switch {
	case n < 50:
		return []string{someone.Address()}
	case n < 60:
		return []string{tagged}
	case n < 70:
		return []string{alias + at}
	case n < 73:
		return []string{alias + "+tag" + at}
	case n < 80:
		return []string{"team" + at}
	case n < 82:
		return []string{"all" + at}
	case n < 90:
		return []string{fmt.Sprintf("unknown%d%s", random.IntN(1000), at)}
	case n < 94: // the same person by several names: one copy for each address that is left after expansion
		return []string{someone.Address(), tagged, alias + at}
	case n < 97 || users:
		return []string{someone.Address(), accounts[random.IntN(len(accounts))].Address(), "team" + at}
	default:
		return []string{"nora@" + lab.NeighbourDomain}
	}
}
