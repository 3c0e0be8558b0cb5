package postfix_dovecot

import (
	"testing"

	"github.com/mailmove/mailmove/providers/mail"
)

// A copy is proved, is repeated at no cost, and its proof finds what was altered.
func TestCopyAndCompare(t *testing.T) {
	t.Parallel()
	b, list := prepared(t, 3, 40)
	ctx := t.Context()
	for i, method := range []mail.Method{mail.Rsync, mail.Dsync} {
		t.Run(string(method), func(t *testing.T) {
			b.t = t
			account := list[i].Address
			job := mail.CopyJob{Op: "copy", Account: account, Peer: b.new, Method: method}
			first, err := b.old.Copy(ctx, job, nil)
			if err != nil {
				t.Fatal(err)
			}
			if first.Messages < 40 || first.Bytes == 0 {
				t.Errorf("the first pass is %+v, want at least 40 messages", first)
			}
			equal := func(what string) {
				t.Helper()
				compared, err := b.old.Compare(ctx, b.new, []mail.Address{account}, mail.Content)
				if err != nil {
					t.Fatal(err)
				}
				if c := compared[account]; c.Behind() != 0 || c.Messages != first.Messages {
					t.Fatalf("%s the stores differ: %+v, want %d messages", what, c, first.Messages)
				}
			}
			equal("after the first pass")
			again, err := b.old.Copy(ctx, job, nil)
			if err != nil {
				t.Fatal(err)
			}
			if again.Changed != 0 || again.Messages != first.Messages {
				t.Errorf("the second pass is %+v after %+v", again, first)
			}
			equal("after the second pass")
			home := "/var/vmail/example.com/" + account.Local() + "/"
			for what, damage := range map[string]string{
				"a lost message":      "rm \"$(find Maildir/cur Maildir/new -type f | head -n 1)\"",
				"an altered message":  "f=$(find Maildir/cur Maildir/new -type f -size +0 | head -n 1); t=$(stat -c %y \"$f\"); printf X | dd of=\"$f\" bs=1 seek=5 conv=notrunc 2>/dev/null; touch -d \"$t\" \"$f\"",
				"an altered script":   "for f in sieve/*.sieve; do echo '# x' >> $f; done",
				"a lost subscription": "sed -i 1,2d Maildir/subscriptions",
			} {
				b.exec("new", "cp -a "+home+" /var/tmp/kept && cd "+home+" && "+damage)
				compared, err := b.old.Compare(ctx, b.new, []mail.Address{account}, mail.Content)
				if err == nil && compared[account].Behind() == 0 {
					t.Errorf("%s is not found", what)
				}
				b.exec("new", "rm -rf "+home+" && mv /var/tmp/kept "+home)
			}
		})
	}
}
