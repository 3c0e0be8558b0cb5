package server

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/mailmove/mailmove/providers/mail"
)

// A Manifest lists what an account's store holds: all that a copy must keep.
type Manifest struct {
	Folders    []FolderManifest `json:"folders"`
	Subscribed []string         `json:"subscribed,omitempty"`
}

// A FolderManifest lists one folder.
type FolderManifest struct {
	Name        string            `json:"name"`
	UIDValidity uint32            `json:"uidvalidity"`
	UIDNext     uint32            `json:"uidnext"`
	Messages    []MessageManifest `json:"messages,omitempty"`
}

// A MessageManifest describes one message; Hash is the SHA-256 of its content.
type MessageManifest struct {
	UID   uint32    `json:"uid"`
	Size  int64     `json:"size"`
	Date  time.Time `json:"date"`
	Flags []string  `json:"flags,omitempty"`
	Hash  string    `json:"hash"`
}

// A Digest sums a manifest up: equal digests are equal stores.
type Digest struct {
	Digest          string `json:"digest"`
	Messages, Bytes int64
}

// manifest lists the store. With content the hashes are computed anew from what
// is kept, and not taken from when it was written.
func (s *store) manifest(content bool) Manifest {
	m := Manifest{Subscribed: slices.Sorted(maps.Keys(s.subscribed))}
	for _, name := range s.names() {
		f := s.folders[name]
		folder := FolderManifest{Name: name, UIDValidity: f.validity, UIDNext: uint32(f.next)}
		for _, msg := range f.messages {
			entry := MessageManifest{UID: uint32(msg.uid), Size: int64(len(msg.body)), Date: msg.date.UTC(), Hash: msg.hash}
			if content {
				entry.Hash = digest(msg.body)
			}
			for _, flag := range msg.list() {
				entry.Flags = append(entry.Flags, string(flag))
			}
			folder.Messages = append(folder.Messages, entry)
		}
		m.Folders = append(m.Folders, folder)
	}
	return m
}

// sum returns the digest of a manifest.
func (m Manifest) sum() Digest {
	h := sha256.New()
	d := Digest{}
	fmt.Fprintf(h, "%q\n", m.Subscribed)
	for _, f := range m.Folders {
		fmt.Fprintf(h, "%q %d %d\n", f.Name, f.UIDValidity, f.UIDNext)
		for _, msg := range f.Messages {
			d.Messages++
			d.Bytes += msg.Size
			fmt.Fprintf(h, "%d %d %d %q %s\n", msg.UID, msg.Size, msg.Date.Unix(), msg.Flags, msg.Hash)
		}
	}
	d.Digest = hex.EncodeToString(h.Sum(nil))
	return d
}

// bodies returns the contents with the given hashes.
func (s *store) bodies(hashes []string) map[string][]byte {
	wanted := map[string][]byte{}
	for _, h := range hashes {
		wanted[h] = nil
	}
	for _, f := range s.folders {
		for _, msg := range f.messages {
			if _, ok := wanted[msg.hash]; ok {
				wanted[msg.hash] = msg.body
			}
		}
	}
	maps.DeleteFunc(wanted, func(_ string, body []byte) bool { return body == nil })
	return wanted
}

// replace makes an account's store what a manifest says, with the contents that it
// has already and those given. It is done whole or not at all. s.mu is held.
func (s *Server) replace(a *account, m Manifest, given map[string][]byte, aside string) error {
	if route, login := s.route(a.address), s.mode(a.address); route.Mode == mail.Local || login.Mode == mail.Open {
		return &failure{Kind: kindRefused, Text: fmt.Sprintf("replacing the store of %s: the account is in use here", a.address)}
	}
	var needed []string
	for _, f := range m.Folders {
		for _, msg := range f.Messages {
			needed = append(needed, msg.Hash)
		}
	}
	bodies := a.store.bodies(needed)
	for hash, body := range given {
		if digest(body) != hash {
			return &failure{Kind: kindRefused, Text: "replacing the store of " + string(a.address) + ": a message was damaged on the way"}
		}
		bodies[hash] = body
	}
	fresh := &store{folders: map[string]*folder{}, subscribed: map[string]bool{}, lastValidity: a.store.lastValidity}
	for _, name := range m.Subscribed {
		fresh.subscribed[name] = true
	}
	for _, f := range m.Folders {
		made := &folder{validity: f.UIDValidity, next: imap.UID(f.UIDNext)}
		for _, msg := range f.Messages {
			body, ok := bodies[msg.Hash]
			if !ok {
				return &failure{Kind: kindRefused, Text: fmt.Sprintf("replacing the store of %s: message %d of %q is missing", a.address, msg.UID, f.Name)}
			}
			flags := map[imap.Flag]bool{}
			for _, flag := range msg.Flags {
				flags[imap.Flag(flag)] = true
			}
			made.messages = append(made.messages, &message{uid: imap.UID(msg.UID), date: msg.Date, flags: flags, body: body, hash: msg.Hash})
		}
		made.tracker = imapserver.NewMailboxTracker(uint32(len(made.messages)))
		fresh.folders[f.Name] = made
		fresh.lastValidity = max(fresh.lastValidity, f.UIDValidity)
	}
	if aside != "" && a.aside[aside] == nil {
		a.aside[aside] = a.store
	}
	a.store = fresh
	return nil
}
