package postfix_dovecot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

func homeOf(account mail.Address) string { return "/var/vmail/" + domain + "/" + account.Local() }

// messagesOf counts the message files of an account on a host.
func (b *bench) messagesOf(host string, account mail.Address) int {
	b.t.Helper()
	out := b.exec(host, "find "+homeOf(account)+" -type f 2>/dev/null | grep -c -e /cur/ -e /new/; :")
	var n int
	fmt.Sscan(out, &n)
	return n
}

// rsyncOn puts a program before the host's rsync until the test ends.
func (b *bench) rsyncOn(t *testing.T, host, text string) {
	t.Helper()
	b.exec(host, "mkdir -p /usr/local/bin && cat >/usr/local/bin/rsync <<'END'\n#!/bin/sh\n"+text+"\nexec /usr/bin/rsync \"$@\"\nEND\nchmod 755 /usr/local/bin/rsync")
	t.Cleanup(func() { b.exec(host, "rm -f /usr/local/bin/rsync") })
}

func wantGone(t *testing.T, err error) {
	t.Helper()
	var fault providers.Error
	if !errors.As(err, &fault) || !strings.Contains(fault.Hint(), "mounted") {
		t.Fatalf("copying a store that has vanished: %v, want an error that says what to look for", err)
	}
}

// What goes wrong with a store while it is copied between real servers.
func TestCopyFaults(t *testing.T) {
	t.Parallel()
	b, list := prepared(t, 4, 40)
	ctx := t.Context()
	pass := func(account mail.Address, method mail.Method) error {
		_, err := b.old.Copy(ctx, mail.CopyJob{Op: "copy", Account: account, Peer: b.new, Method: method}, nil)
		return err
	}
	behind := func(account mail.Address) int64 {
		t.Helper()
		all, err := b.old.Compare(ctx, b.new, []mail.Address{account}, mail.Content)
		b.must(err)
		return all[account].Behind()
	}
	for i, method := range []mail.Method{mail.Rsync, mail.Dsync} {
		t.Run("vanished "+string(method), func(t *testing.T) {
			b.t = t
			account := list[i].Address
			home := homeOf(account)
			b.must(pass(account, method))
			before := b.messagesOf("new", account)
			if before < 40 {
				t.Fatalf("the copy has %d messages", before)
			}
			// Not mounted; then mounted nowhere, and Dovecot made what it needed.
			b.exec("old", "mv "+home+" "+home+".away")
			wantGone(t, pass(account, method))
			b.exec("old", "doveadm mailbox status -u "+string(account)+" messages INBOX")
			wantGone(t, pass(account, method))
			if n := b.messagesOf("new", account); n != before {
				t.Errorf("the copy had %d messages and has %d", before, n)
			}
			b.exec("old", "rm -rf "+home+" && mv "+home+".away "+home)
			b.must(pass(account, method))
			if n := behind(account); n != 0 {
				t.Errorf("after the store came back %d things differ", n)
			}
			// A user may delete everything.
			b.exec("old", "doveadm expunge -u "+string(account)+" mailbox '*' all")
			b.must(pass(account, method))
			if n := behind(account); n != 0 || b.messagesOf("new", account) != 0 {
				t.Errorf("after all was deleted %d things differ, and the copy has %d messages", n, b.messagesOf("new", account))
			}
		})
	}
	t.Run("vanished this moment", func(t *testing.T) {
		b.t = t
		account := list[2].Address
		box := homeOf(account) + "/Maildir"
		b.must(pass(account, mail.Rsync))
		before := b.messagesOf("new", account)
		b.rsyncOn(t, "old", "[ ! -e "+box+" ] || mv "+box+" "+box+".away")
		err := pass(account, mail.Rsync)
		if n := b.messagesOf("new", account); n != before {
			t.Errorf("the copy had %d messages and has %d, after %v", before, n, err)
		}
		if behind(account) == 0 {
			t.Error("the copy counts as equal to nothing")
		}
		b.exec("old", "mv "+box+".away "+box)
	})
	t.Run("names and remains", func(t *testing.T) {
		b.t = t
		account := list[2].Address
		home := homeOf(account)
		folder := func(name string) string {
			return "mkdir -p " + home + "/Maildir/" + name + "/cur " + home + "/Maildir/" + name + "/new " + home + "/Maildir/" + name + "/tmp && "
		}
		// A folder whose name ends like that of a lock; one that is deleted while
		// Dovecot has left something in its tmp on the other server.
		b.exec("old", folder(".a.lock")+folder(".gone")+"echo x >"+home+"/Maildir/.a.lock/cur/1.x:2,S; echo x >"+home+"'/Maildir/.gone/cur/2\nx\\:2,S'; chown -R vmail: "+home)
		b.must(pass(account, mail.Rsync))
		if n := behind(account); n != 0 {
			t.Errorf("%d things differ", n)
		}
		if n := b.exec("new", "ls "+home+"/Maildir/.a.lock/cur | wc -l"); strings.TrimSpace(n) != "1" {
			t.Errorf("the folder a.lock has %s messages", n)
		}
		b.exec("new", "echo x >"+home+"/Maildir/.gone/tmp/3; echo x >"+home+"/Maildir/.gone/dovecot-uidlist.lock")
		b.exec("old", "rm -r "+home+"/Maildir/.gone")
		b.must(pass(account, mail.Rsync))
		if n := behind(account); n != 0 {
			t.Errorf("after a folder was deleted %d things differ", n)
		}
	})
	t.Run("aside from a volume of its own", func(t *testing.T) {
		b.t = t
		account := list[3].Address
		home := homeOf(account)
		b.exec("new", "mkdir -p "+home+" && mount -t tmpfs tmpfs "+home+" && mkdir -p "+home+"/Maildir/cur && echo kept >"+home+"/Maildir/cur/1:2,S && chown -R vmail: "+home)
		job := mail.CopyJob{Op: "back", Account: account, Peer: b.new, Method: mail.Rsync, Aside: true}
		if _, err := b.old.Copy(ctx, job, nil); err != nil {
			t.Fatal(err)
		}
		if kept := b.exec("new", "cat /var/vmail/"+domain+"/.mailmove-aside/op_back/"+account.Local()+"/Maildir/cur/1:2,S"); kept != "kept\n" {
			t.Errorf("what was there is kept as %q", kept)
		}
		if n := behind(account); n != 0 {
			t.Errorf("%d things differ", n)
		}
	})
}

// An operator who is overtaken while a copy is under way writes nothing after the
// other's turn has begun.
func TestOvertakenWhileCopying(t *testing.T) {
	t.Parallel()
	b, list := prepared(t, 2, 40)
	ctx := t.Context()
	first := New(b.old.runner, b.old.endpoint, b.old.env)
	firstPeer := New(b.new.runner, b.new.endpoint, b.new.env)
	number := int64(0)
	turn := func(holder string, servers ...*System) {
		t.Helper()
		number++
		for _, s := range servers {
			fence, ok := providers.As[providers.Fencer](s)
			if !ok {
				t.Fatal("the server holds no epoch")
			}
			b.must(fence.Claim(ctx, providers.Epoch{Number: number, Holder: holder}))
		}
	}
	stale := func(err error) {
		t.Helper()
		if s, ok := errorAs[*providers.StaleError](err); !ok || s.Theirs.Holder != "bob" {
			t.Errorf("the copy of the operator who was overtaken ended with %v, want a StaleError that names bob", err)
		}
	}
	t.Run("rsync", func(t *testing.T) {
		b.t = t
		account := list[0].Address
		turn("anna", first, firstPeer)
		b.rsyncOn(t, "old", `set -- --bwlimit=20 "$@"`)
		ended := make(chan error, 1)
		go func() {
			_, err := first.Copy(ctx, mail.CopyJob{Op: "copy", Account: account, Peer: firstPeer, Method: mail.Rsync}, nil)
			ended <- err
		}()
		b.eventually("messages arrive", func() bool { return b.messagesOf("new", account) > 0 })
		turn("bob", b.new)
		tree := "find " + homeOf(account) + " -printf '%p %s %C@\\n' | sort; pgrep -x rsync"
		before := b.exec("new", tree+"; :")
		time.Sleep(time.Second) // in which some 20 KB would come
		if after := b.exec("new", tree+"; :"); after != before {
			t.Errorf("after the second turn has begun there was\n%s\nand then\n%s", before, after)
		}
		stale(<-ended)
	})
	t.Run("dsync", func(t *testing.T) {
		b.t = t
		account := list[1].Address
		turn("anna", first, firstPeer)
		target, err := firstPeer.stores(ctx, []mail.Address{account})
		b.must(err)
		p := &pass{id: "slow", secret: "x", account: account, from: first, to: firstPeer, source: target[account], target: target[account]}
		b.must(p.begin(ctx, mail.Dsync))
		stream, err := firstPeer.runner.Stream(context.WithoutCancel(ctx), firstPeer.storeCommand("receive", nil, "replica", p.id, p.target.home, string(account)))
		b.must(err)
		b.eventually("dsync runs", func() bool { return strings.TrimSpace(b.exec("new", "pgrep -cf dsync-serve[r]; :")) != "0" })
		turn("bob", b.new)
		if n := strings.TrimSpace(b.exec("new", "pgrep -cf dsync-serve[r]; :")); n != "0" {
			t.Errorf("%s processes of dsync still run", n)
		}
		if err := stream.Close(); err == nil {
			t.Error("the stream has ended well")
		}
		_, err = first.Copy(ctx, mail.CopyJob{Op: "copy", Account: account, Peer: firstPeer, Method: mail.Dsync}, nil)
		stale(err)
	})
}
