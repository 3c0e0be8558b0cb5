package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/mailmove/mailmove/providers/mail"
)

// A Disk is what a server keeps: it survives [Server.Stop].
type Disk struct {
	domains  map[string]bool
	accounts map[mail.Address]*account
	aliases  map[mail.Address]mail.Alias
	claimed  bool
	epochs   map[string]epoch
	trusts   map[mail.Trust]bool
	routes   map[mail.Address]mail.Route
	logins   map[mail.Address]mail.Login
	handoffs map[string]*handoff
	queue    []*item
	// direct are deliveries by anybody but a trusted peer, bounces what was refused
	// for good after it had been accepted.
	direct  []delivery
	bounces []Bounce
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{
		domains: map[string]bool{}, accounts: map[mail.Address]*account{}, aliases: map[mail.Address]mail.Alias{},
		epochs: map[string]epoch{}, trusts: map[mail.Trust]bool{}, routes: map[mail.Address]mail.Route{},
		logins: map[mail.Address]mail.Login{}, handoffs: map[string]*handoff{},
	}
}

// A Bounce is a message that could not be delivered after it had been accepted.
type Bounce struct {
	From, To, Reason string
	Data             []byte
}

// account is one person's store and login.
type account struct {
	address mail.Address
	hash    string
	quota   int64
	store   *store
	// aside are stores that were replaced on the way back, by operation.
	aside map[string]*store
}

// store holds the folders of an account.
type store struct {
	folders    map[string]*folder
	subscribed map[string]bool
	// lastValidity is the highest UIDVALIDITY given out (RFC 9051 section 2.3.1.1).
	lastValidity uint32
}

func newStore() *store {
	s := &store{folders: map[string]*folder{}, subscribed: map[string]bool{}, lastValidity: uint32(time.Now().Unix())}
	s.create("INBOX")
	return s
}

func (s *store) create(name string) *folder {
	s.lastValidity++
	f := &folder{validity: s.lastValidity, next: 1, tracker: imapserver.NewMailboxTracker(0)}
	s.folders[name] = f
	return f
}

// names returns the folders' names in order.
func (s *store) names() []string { return slices.Sorted(maps.Keys(s.folders)) }

// folder is one mailbox, in IMAP's sense.
type folder struct {
	validity uint32
	next     imap.UID
	messages []*message
	tracker  *imapserver.MailboxTracker
}

// message is one message of a folder.
type message struct {
	uid   imap.UID
	date  time.Time
	flags map[imap.Flag]bool
	body  []byte
	hash  string
}

// add appends a message. Its body is not changed afterwards.
func (f *folder) add(body []byte, date time.Time, flags []imap.Flag) *message {
	m := &message{uid: f.next, date: date, flags: map[imap.Flag]bool{}, body: body, hash: digest(body)}
	for _, flag := range flags {
		m.flags[canonical(flag)] = true
	}
	f.next++
	f.messages = append(f.messages, m)
	f.tracker.QueueNumMessages(uint32(len(f.messages)))
	return m
}

// list returns the message's flags in order.
func (m *message) list() []imap.Flag { return slices.Sorted(maps.Keys(m.flags)) }

// systemFlags have one spelling (RFC 9051 section 2.3.2); keywords are kept as
// they come.
var systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}

func canonical(flag imap.Flag) imap.Flag {
	for _, f := range systemFlags {
		if strings.EqualFold(string(f), string(flag)) {
			return f
		}
	}
	return flag
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// hashPassword makes a hash in Dovecot's scheme SSHA256: the salt follows the digest.
func hashPassword(password string) string {
	salt := make([]byte, 8)
	rand.Read(salt) // never fails
	return ssha256(password, salt)
}

func ssha256(password string, salt []byte) string {
	sum := sha256.Sum256(append([]byte(password), salt...))
	return "{SSHA256}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}

// checkPassword reports whether a password has a hash.
func checkPassword(hash, password string) bool {
	encoded, ok := strings.CutPrefix(hash, "{SSHA256}")
	if !ok {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) < sha256.Size {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(ssha256(password, raw[sha256.Size:])), []byte(hash)) == 1
}
