package server

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"
)

// What a session does with messages of the folder it has selected.

// found is a message with its number in the session's view, and its flags as they
// were.
type found struct {
	*message
	number uint32
	flags  []imap.Flag
}

// pick returns the messages that a set names. The server's lock is held.
func (m *mailbox) pick(set imap.NumSet) []found {
	var list []found
	for i, msg := range m.folder.messages {
		number := m.tracker.EncodeSeqNum(uint32(i) + 1)
		if number != 0 && m.contains(set, number, msg.uid) {
			list = append(list, found{message: msg, number: number, flags: msg.list()})
		}
	}
	return list
}

// contains resolves "*", which is the highest number in the folder, where the
// library leaves it as 0.
func (m *mailbox) contains(set imap.NumSet, number uint32, uid imap.UID) bool {
	count := len(m.folder.messages)
	within := func(start, stop, n, last uint32) bool {
		if start == 0 {
			start = last
		}
		if stop == 0 {
			stop = last
		}
		return min(start, stop) <= n && n <= max(start, stop)
	}
	switch set := set.(type) {
	case imap.SeqSet:
		return slices.ContainsFunc(set, func(r imap.SeqRange) bool { return within(r.Start, r.Stop, number, uint32(count)) })
	case imap.UIDSet:
		highest := uint32(m.folder.messages[count-1].uid)
		return slices.ContainsFunc(set, func(r imap.UIDRange) bool {
			return within(uint32(r.Start), uint32(r.Stop), uint32(uid), highest)
		})
	}
	return false
}

func (m *mailbox) Fetch(w *imapserver.FetchWriter, set imap.NumSet, options *imap.FetchOptions) error {
	seen := !m.readOnly && slices.ContainsFunc(options.BodySection, func(s *imap.FetchItemBodySection) bool { return !s.Peek })
	var list []found
	err := m.do(func(*store) error {
		if seen {
			m.change(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil)
		}
		list = m.pick(set)
		return nil
	})
	if err != nil {
		return err
	}
	for _, msg := range list { // without the lock: a client may read slowly
		if err := msg.write(w.CreateMessage(msg.number), options); err != nil {
			return err
		}
	}
	return nil
}

func (msg found) write(w *imapserver.FetchResponseWriter, options *imap.FetchOptions) error {
	w.WriteUID(msg.uid)
	if options.Flags {
		w.WriteFlags(msg.flags)
	}
	if options.InternalDate {
		w.WriteInternalDate(msg.date)
	}
	if options.RFC822Size {
		w.WriteRFC822Size(int64(len(msg.body)))
	}
	if options.Envelope {
		header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(msg.body)))
		if err == nil {
			w.WriteEnvelope(imapserver.ExtractEnvelope(header))
		}
	}
	if options.BodyStructure != nil {
		w.WriteBodyStructure(imapserver.ExtractBodyStructure(bytes.NewReader(msg.body)))
	}
	for _, section := range options.BodySection {
		part := msg.body
		if !whole(section) {
			part = imapserver.ExtractBodySection(bytes.NewReader(msg.body), section)
		}
		body := w.WriteBodySection(section, int64(len(part)))
		if _, err := body.Write(part); err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
	}
	return w.Close()
}

// whole reports whether a section is the message as it is, which is not parsed.
func whole(s *imap.FetchItemBodySection) bool {
	return s.Specifier == imap.PartSpecifierNone && len(s.Part) == 0 && s.Partial == nil
}

func (m *mailbox) Store(w *imapserver.FetchWriter, set imap.NumSet, flags *imap.StoreFlags, _ *imap.StoreOptions) error {
	if m.readOnly {
		return errReading
	}
	var list []found
	err := m.do(func(*store) error {
		m.change(set, flags, m.tracker)
		list = m.pick(set)
		return nil
	})
	if err != nil || flags.Silent {
		return err
	}
	for _, msg := range list {
		if err := msg.write(w.CreateMessage(msg.number), &imap.FetchOptions{Flags: true}); err != nil {
			return err
		}
	}
	return nil
}

// change sets flags and tells the other sessions. The server's lock is held.
func (m *mailbox) change(set imap.NumSet, flags *imap.StoreFlags, source *imapserver.SessionTracker) {
	for i, msg := range m.folder.messages {
		number := m.tracker.EncodeSeqNum(uint32(i) + 1)
		if number == 0 || !m.contains(set, number, msg.uid) {
			continue
		}
		if flags.Op == imap.StoreFlagsSet {
			msg.flags = map[imap.Flag]bool{}
		}
		for _, flag := range flags.Flags {
			if flags.Op == imap.StoreFlagsDel {
				delete(msg.flags, canonical(flag))
			} else {
				msg.flags[canonical(flag)] = true
			}
		}
		m.folder.tracker.QueueMessageFlags(uint32(i)+1, msg.uid, msg.list(), source)
	}
}

func (m *mailbox) Expunge(_ *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if m.readOnly {
		return errReading
	}
	return m.do(func(*store) error {
		m.folder.expunge(func(msg *message) bool {
			return msg.flags[imap.FlagDeleted] && (uids == nil || uids.Contains(msg.uid))
		})
		return nil
	})
}

// expunge removes messages and tells every session.
func (f *folder) expunge(gone func(*message) bool) {
	for i := len(f.messages) - 1; i >= 0; i-- {
		if gone(f.messages[i]) {
			f.messages = slices.Delete(f.messages, i, i+1)
			f.tracker.QueueExpunge(uint32(i) + 1)
		}
	}
}

func (m *mailbox) Copy(set imap.NumSet, to string) (*imap.CopyData, error) {
	var data *imap.CopyData
	err := m.do(func(s *store) error {
		var err error
		data, _, err = m.copy(s, set, to)
		return err
	})
	return data, err
}

// copy copies messages to another folder and returns the originals.
func (m *mailbox) copy(s *store, set imap.NumSet, to string) (*imap.CopyData, map[*message]bool, error) {
	target := s.folders[normal(to)]
	if target == nil {
		return nil, nil, errTry
	}
	data := &imap.CopyData{UIDValidity: target.validity}
	originals := map[*message]bool{}
	for _, msg := range m.pick(set) {
		added := target.add(msg.body, msg.date, msg.flags)
		data.SourceUIDs.AddNum(msg.uid)
		data.DestUIDs.AddNum(added.uid)
		originals[msg.message] = true
	}
	return data, originals, nil
}

func (m *mailbox) Move(w *imapserver.MoveWriter, set imap.NumSet, to string) error {
	if m.readOnly {
		return errReading
	}
	var data *imap.CopyData
	err := m.do(func(s *store) error {
		var originals map[*message]bool
		var err error
		if data, originals, err = m.copy(s, set, to); err != nil {
			return err
		}
		m.folder.expunge(func(msg *message) bool { return originals[msg] })
		return nil
	})
	if err != nil {
		return err
	}
	return w.WriteCopyData(data) // the expunges come with the next poll
}

func (m *mailbox) Search(kind imapserver.NumKind, criteria *imap.SearchCriteria, _ *imap.SearchOptions) (*imap.SearchData, error) {
	data := &imap.SearchData{}
	var seqs imap.SeqSet
	var uids imap.UIDSet
	err := m.do(func(*store) error {
		for i, msg := range m.folder.messages {
			number := m.tracker.EncodeSeqNum(uint32(i) + 1)
			if number == 0 || !m.matches(msg, number, criteria) {
				continue
			}
			data.Count++
			seqs.AddNum(number)
			uids.AddNum(msg.uid)
		}
		return nil
	})
	data.All = seqs
	if kind == imapserver.NumKindUID {
		data.All = uids
	}
	return data, err
}

// matches reports whether a message fulfils criteria (RFC 9051 section 6.4.4).
func (m *mailbox) matches(msg *message, number uint32, c *imap.SearchCriteria) bool {
	for _, set := range c.SeqNum {
		if !m.contains(set, number, msg.uid) {
			return false
		}
	}
	for _, set := range c.UID {
		if !m.contains(set, number, msg.uid) {
			return false
		}
	}
	day := time.Date(msg.date.Year(), msg.date.Month(), msg.date.Day(), 0, 0, 0, 0, time.UTC)
	if !c.Since.IsZero() && day.Before(c.Since) || !c.Before.IsZero() && !day.Before(c.Before) {
		return false
	}
	size := int64(len(msg.body))
	if c.Larger != 0 && size <= c.Larger || c.Smaller != 0 && size >= c.Smaller {
		return false
	}
	for _, flag := range c.Flag {
		if !msg.flags[canonical(flag)] {
			return false
		}
	}
	for _, flag := range c.NotFlag {
		if msg.flags[canonical(flag)] {
			return false
		}
	}
	return matchesText(msg, c) && m.matchesOthers(msg, number, c)
}

func matchesText(msg *message, c *imap.SearchCriteria) bool {
	text := bytes.ToLower(msg.body)
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	for _, field := range c.Header {
		if !matchesField(head, strings.ToLower(field.Key), strings.ToLower(field.Value)) {
			return false
		}
	}
	for _, want := range c.Text {
		if !bytes.Contains(text, []byte(strings.ToLower(want))) {
			return false
		}
	}
	for _, want := range c.Body {
		if !bytes.Contains(body, []byte(strings.ToLower(want))) {
			return false
		}
	}
	return true
}

func matchesField(head []byte, key, value string) bool {
	for line := range strings.SplitSeq(string(head), "\r\n") {
		name, rest, ok := strings.Cut(line, ":")
		if ok && name == key && strings.Contains(rest, value) {
			return true
		}
	}
	return false
}

func (m *mailbox) matchesOthers(msg *message, number uint32, c *imap.SearchCriteria) bool {
	for _, not := range c.Not {
		if m.matches(msg, number, &not) {
			return false
		}
	}
	for _, or := range c.Or {
		if !m.matches(msg, number, &or[0]) && !m.matches(msg, number, &or[1]) {
			return false
		}
	}
	return true
}
