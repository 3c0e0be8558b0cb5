package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/audit"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

// plants are the faults, each with the kind under which the audit must report it and those that it brings with it.
var plants = []struct {
	name    string
	do      func(b *bench)
	want    audit.Kind
	besides []audit.Kind
	undo    func(b *bench) // of what restoring the stores and records does not undo
}{
	{name: "an old message is deleted", want: audit.OldLost, do: func(b *bench) {
		b.doveadm("expunge", "mailbox", "Trash", "1")
	}},
	{name: "an old message is there twice", want: audit.OldDoubled, do: func(b *bench) {
		b.doveadm("copy", "Trash", "mailbox", "Trash", "1")
	}},
	{name: "an old message lies in another folder", want: audit.Misfiled, do: func(b *bench) {
		b.doveadm("move", "Empty", "mailbox", "Trash", "1")
	}},
	{name: "a flag is set", want: audit.FlagsAltered, do: func(b *bench) {
		b.doveadm("flags add", `\Flagged`, "mailbox", "Trash", "unflagged")
	}},
	{name: "a flag is lost", want: audit.FlagsAltered, do: func(b *bench) {
		b.doveadm("flags remove", `\Seen \Flagged \Answered \Draft \Deleted`, "mailbox", "Trash")
	}},
	{name: "a keyword is set", want: audit.KeywordsAltered, do: func(b *bench) {
		b.doveadm("flags add", "Planted", "mailbox", "Trash", "1")
	}},
	{name: "a keyword is lost that only the index holds", want: audit.KeywordsAltered, do: func(b *bench) {
		b.doveadm("flags remove", "label-30 label-31 label-33 label-34", "mailbox", "Labels")
	}},
	{name: "the content of an old message is altered", want: audit.ContentAltered, do: func(b *bench) {
		alter(b, b.file(".Trash"), func(content []byte) int { return bytes.Index(content, []byte("Subject: ")) + len("Subject: ") })
	}},
	{name: "the time of a file is altered behind Dovecot's cache", want: audit.FilesDiffer, do: func(b *bench) {
		touch(b, b.file(".Trash"))
	}},
	{name: "the date of an old message is altered", want: audit.DateAltered, do: func(b *bench) {
		touch(b, b.file(".Trash"))
		b.run("old", "rm", "/var/vmail/example.com/murphy/Maildir/.Trash/dovecot.index.cache")
	}},
	{name: "UIDVALIDITY is altered", want: audit.UIDValidityChanged, do: func(b *bench) {
		b.doveadm("mailbox update --uid-validity 4711", "Trash")
	}},
	{name: "UIDs are altered", want: audit.UIDChanged, besides: []audit.Kind{audit.UIDValidityChanged, audit.KeywordsAltered}, do: func(b *bench) {
		b.run("old", "sh", "-c", "cd /var/vmail/example.com/murphy/Maildir/.Trash && rm dovecot-uidlist dovecot.index*")
	}},
	{name: "POP3 UIDLs are altered", want: audit.UIDLChanged, besides: []audit.Kind{audit.UIDValidityChanged}, do: func(b *bench) {
		b.doveadm("mailbox update --uid-validity 4711", "INBOX")
	}},
	{name: "a folder is removed", want: audit.FolderMissing, besides: []audit.Kind{audit.OldLost}, do: func(b *bench) {
		b.doveadm("mailbox delete", "Entwürfe & Müll")
	}},
	{name: "an empty folder is removed", want: audit.FolderMissing, do: func(b *bench) {
		b.doveadm("mailbox delete", "Empty")
	}},
	{name: "a subscription is removed", want: audit.SubscriptionsChanged, do: func(b *bench) {
		b.doveadm("mailbox unsubscribe", "Sent")
	}},
	{name: "a Sieve script is removed", want: audit.SieveChanged, do: func(b *bench) {
		b.doveadm("sieve delete", "holiday")
	}},
	{name: "no Sieve script is active", want: audit.SieveChanged, do: func(b *bench) {
		b.doveadm("sieve deactivate")
	}},
	{name: "somebody else's old message", want: audit.Stranger, do: func(b *bench) {
		b.run("old", "doveadm", "copy", "-u", "office@example.com", "Trash", "user", user, "mailbox", "Trash", "1")
	}},
	{name: "somebody else's new message", want: audit.Misdelivered, do: func(b *bench) {
		b.run("old", "doveadm", "copy", "-u", "nora@other.example", "INBOX", "user", user, "mailbox", "INBOX", "uid", b.live())
	}},
	{name: "a new message is lost", want: audit.Lost, do: func(b *bench) {
		b.doveadm("expunge", "mailbox", "INBOX", "uid", b.live())
	}},
	{name: "a new message is there twice", want: audit.Doubled, do: func(b *bench) {
		b.doveadm("copy", "Sent", "mailbox", "INBOX", "uid", b.live())
	}},
	{name: "a new message is not whole", want: audit.ContentAltered, do: func(b *bench) {
		file := b.run("old", "sh", "-c", `grep -l "^X-Lab-Marker: sender" /var/vmail/example.com/murphy/Maildir/cur/* | head -1`)
		host, err := b.l.Host("old")
		if err != nil {
			b.t.Fatal(err)
		}
		path, err := host.Path(file)
		if err != nil {
			b.t.Fatal(err)
		}
		alter(b, path, func(content []byte) int { return len(content) - 5 })
	}},
	{name: "an acknowledged flag is lost", want: audit.ActionLost, do: func(b *bench) {
		for _, a := range b.actions() {
			if a.Verb == users.Flag {
				b.doveadm("flags remove", a.Flag, "mailbox", a.Folder, "uid", fmt.Sprint(a.UID))
			}
		}
	}},
	{name: "an acknowledged draft is lost", want: audit.ActionLost, besides: []audit.Kind{audit.Lost}, do: func(b *bench) {
		b.doveadm("expunge", "mailbox", "Drafts", "header", traffic.MarkerField, "draft.")
	}},
	{name: "a deleted message is back", want: audit.ActionLost, do: func(b *bench) {
		// The user deletes, as far as the record goes, a message of which a twin is put back.
		uid := b.doveadm("-f flow fetch", "uid", "mailbox", "Trash", "1")
		action := users.Action{Time: time.Now(), Account: user, Client: "desktop", Verb: users.Expunge, Folder: "Trash", Result: users.Done}
		if _, err := fmt.Sscanf(uid, "uid=%d", &action.UID); err != nil {
			b.t.Fatal(err)
		}
		write(b, users.ActionsFile, action)
	}},
	{name: "a queue is not empty", want: audit.QueueNotEmpty, do: func(b *bench) {
		b.run("old", "sh", "-c", "postconf -e defer_transports=lmtp && postfix reload && printf 'Subject: x\n\nx\n' | sendmail "+user)
		for !strings.Contains(b.run("old", "postqueue", "-j"), user) {
			time.Sleep(50 * time.Millisecond)
		}
	}, undo: func(b *bench) {
		b.run("old", "sh", "-c", "postsuper -d ALL; postconf -e defer_transports= && postfix reload")
	}},
	{name: "a bounce comes back to a sender", want: audit.Bounced, do: func(b *bench) {
		b.run("stale", "sh", "-c", "mkdir -p /var/mail/all/new && echo > /var/mail/all/new/bounce")
	}, undo: func(b *bench) {
		b.run("stale", "rm", "/var/mail/all/new/bounce")
	}},
	{name: "a sender is refused", want: audit.Bounced, do: func(b *bench) {
		write(b, traffic.LedgerFile, traffic.Entry{Marker: "planted.1", Attempt: 1, Recipient: user, Outcome: traffic.Refused, Reply: "550 no"})
	}},
	{name: "a sender never gets rid of a message", want: audit.NotAccepted, do: func(b *bench) {
		write(b, traffic.LedgerFile, traffic.Entry{Marker: "planted.2", Attempt: 1, Recipient: user, Outcome: traffic.Deferred, Reply: "450 later"})
	}},
	{name: "an accepted message never arrives", want: audit.Lost, do: func(b *bench) {
		write(b, traffic.LedgerFile, traffic.Entry{Marker: "planted.3", Attempt: 1, Recipient: user, Outcome: traffic.Accepted})
	}},
	{name: "a login is refused", want: audit.LoginRefused, do: func(b *bench) {
		write(b, users.LoginsFile, users.Login{Time: time.Now(), Account: user, Client: "phone", Error: "NO"})
	}},
	{name: "a login is cut off", want: audit.LoginCutOff, do: func(b *bench) {
		write(b, users.LoginsFile, users.Login{Time: time.Now(), Account: user, Client: "phone", Error: "EOF", CutOff: true})
	}},
}

// alter changes one character of a file, where at says, and leaves everything else.
func alter(b *bench, file string, at func(content []byte) int) {
	info, err := os.Stat(file)
	if err != nil {
		b.t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	content[at(content)] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, info.ModTime()); err != nil {
		b.t.Fatal(err)
	}
}

// touch gives a file another time.
func touch(b *bench, file string) {
	if err := os.Chtimes(file, time.Time{}, time.Unix(1000000000, 0)); err != nil {
		b.t.Fatal(err)
	}
}
