package postfix_dovecot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers/mail"
)

func TestClaimAndUnclaim(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	files := "cat /etc/postfix/main.cf /etc/postfix/master.cf; doveconf -n | grep -v '^#'; ls /etc/cron.d /etc/dovecot/conf.d"
	before := b.exec("old", files)
	for range 2 { // doing it again changes nothing
		if err := b.old.Claim(t.Context(), "op1"); err != nil {
			t.Fatal(err)
		}
		if claimed, err := b.old.Claimed(t.Context()); err != nil || !claimed {
			t.Fatalf("claimed is %v, %v after a claim", claimed, err)
		}
	}
	if b.exec("old", files) == before {
		t.Fatal("a claim changed nothing")
	}
	if err := b.old.Unclaim(t.Context(), "op2"); err != nil {
		t.Fatal(err)
	}
	if after := b.exec("old", files); after != before {
		t.Errorf("after unclaim the configuration is\n%s\nbefore it was\n%s", after, before)
	}
	if claimed, err := b.old.Claimed(t.Context()); err != nil || claimed {
		t.Fatalf("claimed is %v, %v after an unclaim", claimed, err)
	}
}

// What an administrator changes between two claims stays when our part leaves.
func TestUnclaimKeepsWhatWasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	ctx := t.Context()
	b.must(b.old.Claim(ctx, "op1"))
	b.exec("old", "postconf -e message_size_limit=12345678; postconf -M 'test/unix=test unix - - n - - smtp'")
	b.must(b.old.Claim(ctx, "op2"))
	b.must(b.old.Unclaim(ctx, "op3"))
	if got := strings.TrimSpace(b.exec("old", "postconf -h message_size_limit transport_maps; postconf -M test/unix | wc -l")); got != "12345678\n\n1" {
		t.Errorf("after unclaim message_size_limit, transport_maps and the number of services are %q", got)
	}
	if left := b.exec("old", "grep -e mailmove -e '^mm' /etc/postfix/main.cf /etc/postfix/master.cf; :"); left != "" {
		t.Errorf("unclaim has left %s", left)
	}
}

// Hooks that Dovecot refuses leave those in place that are in force.
func TestRefusedClaimKeepsHooks(t *testing.T) {
	t.Parallel()
	b := newLab(t)
	ctx := t.Context()
	b.must(b.old.Claim(ctx, "op1"))
	// An older mailmove had others.
	b.exec("old", "cd /etc/dovecot/conf.d && echo '# older' >>00-mailmove.conf && echo '# older' >>zz-mailmove.conf")
	const files = "cd /etc/dovecot/conf.d && ls *mailmove* && cat *mailmove*"
	before := b.exec("old", files)
	if _, err := b.old.look(ctx); err != nil {
		t.Fatal(err)
	}
	b.exec("old", "echo 'nonsense {' >/etc/dovecot/conf.d/98-test.conf")
	if err := b.old.Claim(ctx, "op2"); err == nil || !strings.Contains(err.Error(), "Dovecot refuses the hooks") {
		t.Errorf("a claim that Dovecot refuses: %v", err)
	}
	if after := b.exec("old", files); after != before {
		t.Errorf("after a claim that was refused there is\n%s\nbefore there was\n%s", after, before)
	}
	b.exec("old", "rm /etc/dovecot/conf.d/98-test.conf")
	if claimed, err := b.old.Claimed(ctx); err != nil || !claimed {
		t.Errorf("claimed is %v, %v after a claim that was refused", claimed, err)
	}
	b.must(b.old.Claim(ctx, "op3"))
	if after := b.exec("old", files); strings.Contains(after, "# older") || strings.Contains(after, "mailmove-was") {
		t.Errorf("after a claim that was not refused there is\n%s", after)
	}
}

// A claim that is killed while it holds deliveries back leaves no mail waiting.
func TestClaimKilledWhileDeliveriesPause(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	b.must(b.old.Claim(t.Context(), "op1"))
	b.exec("old", "echo >/var/lib/mailmove/homes/defer_before; postconf -e defer_transports=lmtp; postfix reload")
	b.send("198.51.100.10", "a@sender.example", string(murphy), "paused")
	b.eventually("the delivery is put off", func() bool { return strings.Contains(b.exec("old", "postqueue -p"), "deferred transport") })
	b.exec("old", "flock /var/lib/mailmove/homes/claiming /var/lib/mailmove/homes/homes tick")
	if got := b.exec("old", "postconf -h defer_transports"); strings.TrimSpace(got) != "lmtp" {
		t.Error("deliveries went on while somebody was installing the hooks")
	}
	b.exec("old", "/var/lib/mailmove/homes/homes tick")
	b.eventually("it goes on", func() bool { return b.stored("old", string(murphy), "paused") == 1 })
	if got := strings.TrimSpace(b.exec("old", "postconf -n defer_transports")); got != "" {
		t.Error("there is left: ", got)
	}
}

// loginsProgram logs in again and again, six at a time, for some seconds, and prints
// what went wrong.
const loginsProgram = `
import imaplib, poplib, random, ssl, sys, threading, time
server, user, password, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
context = ssl._create_unverified_context()
end = time.time() + seconds
done = []
def imap():
    c = imaplib.IMAP4_SSL(server, 993, ssl_context=context, timeout=60)
    c.login(user, password); c.logout()
def starttls():
    c = imaplib.IMAP4(server, 143, timeout=60)
    c.starttls(context); c.login(user, password); c.logout()
def pop():
    c = poplib.POP3_SSL(server, 995, context=context, timeout=60)
    c.user(user); c.pass_(password); c.quit()
def work(login):
    while time.time() < end:
        time.sleep(random.expovariate(5))
        try:
            login(); done.append(1)
        except Exception as e:
            print(login.__name__, e, flush=True)
workers = [threading.Thread(target=work, args=(f,)) for f in (imap, starttls, pop) * 2]
for w in workers: w.start()
for w in workers: w.join()
if not done: print("nobody got in")
`

// Dovecot is reloaded while users come in, 25 a second: nobody is refused. How many
// had their connection closed instead is told; it depends on the machine.
func TestClaimRefusesNoLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	ctx := t.Context()
	b.password(b.old, []mail.Account{{Address: murphy}}, passwordHash)
	// Dovecot looks at a passwd-file once a second.
	b.eventually("the password counts", func() bool {
		return strings.Contains(b.exec("old", "doveadm auth test "+string(murphy)+" '"+password+"' 2>&1; :"), "succeeded")
	})
	logins := make(chan string, 1)
	go func() {
		logins <- b.exec("op", "python3 -c '"+loginsProgram+"' 198.51.100.10 "+string(murphy)+" '"+password+"' 30")
	}()
	for reloads := 0; ; {
		b.must(b.old.Claim(ctx, fmt.Sprintf("claim%d", reloads)))
		b.must(b.old.Unclaim(ctx, fmt.Sprintf("unclaim%d", reloads)))
		reloads += 2
		select {
		case said := <-logins:
			cut := strings.Count(said, "EOF")
			t.Logf("%d reloads have cut off %d logins", reloads, cut)
			if strings.Count(said, "\n") != cut {
				t.Errorf("while the hooks were installed and removed:\n%s", said)
			}
			return
		default:
		}
	}
}

// A claim lets those in who stand at the door.
func TestClaimWaitsForLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	ctx := t.Context()
	b.password(b.old, []mail.Account{{Address: murphy}}, passwordHash)
	b.exec("op", "rm -f /tmp/connected")
	login := make(chan string, 1)
	go func() {
		login <- b.exec("op", `python3 -c '
import imaplib, ssl, sys, time
c = imaplib.IMAP4_SSL(sys.argv[1], 993, ssl_context=ssl._create_unverified_context(), timeout=60)
open("/tmp/connected", "w").close()
time.sleep(8)
try:
    print(c.login(sys.argv[2], sys.argv[3])[0])
except Exception as e:
    print(e)
' 198.51.100.10 `+string(murphy)+" '"+password+"'")
	}()
	b.eventually("a client has connected", func() bool { return b.exec("op", "ls /tmp/connected 2>&1; :") == "/tmp/connected\n" })
	b.must(b.old.Claim(ctx, "claim"))
	if said := <-login; said != "OK\n" {
		t.Error("the login that a claim was to wait for: ", said)
	}
}

// Where no cron runs, a timer of systemd does its work. The lab's hosts have no
// systemd: what the claim writes is verified by the one of this machine.
func TestTimerOfSystemd(t *testing.T) {
	t.Parallel()
	b := newLab(t)
	ctx := t.Context()
	b.exec("old", `mkdir -p /run/systemd/system && pkill -x cron; mv /usr/sbin/cron /usr/sbin/cron.off
mkdir -p /usr/local/sbin; printf '#!/bin/sh\necho "$@" >>/tmp/systemctl\n' >/usr/local/sbin/systemctl && chmod 755 /usr/local/sbin/systemctl`)
	b.eventually("cron has ended", func() bool { return b.exec("old", "pgrep -x cron; :") == "" })
	b.must(b.old.Claim(ctx, "claim"))
	dir := t.TempDir()
	for _, name := range []string{"mailmove.service", "mailmove.timer"} {
		unit := strings.ReplaceAll(b.exec("old", "cat /etc/systemd/system/"+name), "/var/lib/mailmove/homes/homes", "/bin/true")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if analyze, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("there is no systemd-analyze on this machine: whether systemd takes the units is left out")
	} else if out, err := exec.Command(analyze, "verify", filepath.Join(dir, "mailmove.service"), filepath.Join(dir, "mailmove.timer")).CombinedOutput(); err != nil {
		t.Errorf("systemd does not take the units: %v\n%s", err, out)
	}
	b.must(b.old.Unclaim(ctx, "unclaim"))
	want := "daemon-reload\nenable --now mailmove.timer\ndisable --now mailmove.timer\ndaemon-reload\n"
	if got := b.exec("old", "cat /tmp/systemctl"); got != want {
		t.Errorf("systemd was told %q, want %q", got, want)
	}
	if left := b.exec("old", "ls /etc/systemd/system | grep mailmove; :"); left != "" {
		t.Error("unclaim has left ", left)
	}
}
