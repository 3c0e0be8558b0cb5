package server

import (
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailmove/mailmove/providers/mail"
)

// What an administrator does on the machine itself, and what an audit reads.

// AddDomain makes the server accept mail for a domain.
func (s *Server) AddDomain(domain string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.domains[domain] = true
}

// AddAccount creates an account or changes its password and quota.
func (s *Server) AddAccount(address mail.Address, password string, quota int64) {
	hash := hashPassword(password)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.disk.accounts[address]
	if a == nil {
		a = &account{address: address, store: newStore(), aside: map[string]*store{}}
		s.disk.accounts[address] = a
	}
	a.hash, a.quota = hash, quota
}

// AddAlias creates an alias or changes it; without members and code it is removed.
func (s *Server) AddAlias(alias mail.Alias) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(alias.Members)+len(alias.Code) == 0 {
		delete(s.disk.aliases, alias.Address)
		return
	}
	alias.Members = slices.Sorted(slices.Values(alias.Members))
	s.disk.aliases[alias.Address] = alias
}

// A Message is one message of a folder.
type Message struct {
	UID   uint32
	Date  time.Time
	Flags []string
	Body  []byte
}

// A Folder is one mailbox of an account, in IMAP's sense.
type Folder struct {
	Name        string
	UIDValidity uint32
	UIDNext     uint32
	Subscribed  bool
	Messages    []Message
}

// Fill adds messages to a folder, which is created if there is none. Their UIDs
// are ignored.
func (s *Server) Fill(account mail.Address, folder string, messages []Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.disk.accounts[account]
	if a == nil {
		return fmt.Errorf("filling %s of %s: no such account", folder, account)
	}
	f := a.store.folders[folder]
	if f == nil {
		f = a.store.create(folder)
		a.store.subscribed[folder] = true
	}
	for _, m := range messages {
		flags := make([]imap.Flag, len(m.Flags))
		for i, flag := range m.Flags {
			flags[i] = imap.Flag(flag)
		}
		f.add(m.Body, m.Date, flags)
	}
	return nil
}

// Folders returns an account's folders in order; nil if there is no account.
func (s *Server) Folders(account mail.Address) []Folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.disk.accounts[account]
	if a == nil {
		return nil
	}
	var folders []Folder
	for _, name := range a.store.names() {
		f := a.store.folders[name]
		folder := Folder{Name: name, UIDValidity: f.validity, UIDNext: uint32(f.next), Subscribed: a.store.subscribed[name]}
		for _, m := range f.messages {
			message := Message{UID: uint32(m.uid), Date: m.date, Body: m.body}
			for _, flag := range m.list() {
				message.Flags = append(message.Flags, string(flag))
			}
			folder.Messages = append(folder.Messages, message)
		}
		folders = append(folders, folder)
	}
	return folders
}

// Queued returns how many messages wait in the queue.
func (s *Server) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.disk.queue)
}

// Bounces returns what was refused for good after it had been accepted.
func (s *Server) Bounces() []Bounce {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.disk.bounces)
}
