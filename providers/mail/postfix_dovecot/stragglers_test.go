package postfix_dovecot

import (
	"compress/gzip"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

// stragglersOf runs the script on a log in a folder, in the time zone of a server.
func stragglersOf(t *testing.T, log, zone string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	postconf := "#!/bin/sh\necho " + log + "\n"
	if err := os.WriteFile(filepath.Join(bin, "postconf"), []byte(postconf), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-s", "example.com", "30")
	cmd.Stdin = strings.NewReader(stragglersScript)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TZ="+zone)
	out, err := cmd.Output()
	return string(out), err
}

func TestStragglersOfALog(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	day, hour := now.Add(-24*time.Hour), now.Add(-time.Hour)
	traditional := func(at time.Time, text string) string { return at.In(berlin).Format(time.Stamp) + " mx " + text + "\n" }
	modern := func(at time.Time, text string) string { return at.Format(time.RFC3339Nano) + " mx " + text + "\n" }
	dir := t.TempDir()
	log := filepath.Join(dir, "mail.log")
	// Rotated by date and packed: the newest file is not the one that sorts last.
	older, err := os.Create(log + "-20261101.gz")
	if err != nil {
		t.Fatal(err)
	}
	packed := gzip.NewWriter(older)
	packed.Write([]byte(traditional(day, "postfix/smtpd[1]: A1: client=mx.example.org[192.0.2.7]") +
		traditional(day, "postfix/lmtp[2]: A1: to=<anna@example.com>, status=sent") +
		// Received before the log was rotated, delivered after.
		traditional(day, "postfix/smtpd[1]: A2: client=early.example.org[192.0.2.9]")))
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(older.Name(), day, day); err != nil {
		t.Fatal(err)
	}
	newer := modern(hour, "postfix/qmgr[3]: A2: from=<x@early.example.org>, nrcpt=1") +
		modern(hour, "postfix/lmtp[2]: A2: to=<Anna@Example.COM>, status=sent") +
		modern(hour, "mailhost/smtpd[4]: A3: client=mx.example.org[192.0.2.7]") +
		modern(hour, "mailhost/virtual[5]: A3: to=<info@elsewhere.example>, orig_to=<info@example.com>, status=sent") +
		modern(hour, "mailhost/virtual[5]: A3: to=<anna@example.com>, orig_to=<info@example.com>, status=sent") +
		// None of these counts: the peer, a submission, another domain, one refused.
		modern(hour, "postfix/mailmove/smtpd[6]: A4: client=new[198.51.100.20]") + modern(hour, "postfix/lmtp[2]: A4: to=<anna@example.com>, status=sent") +
		modern(hour, "postfix/submission/smtpd[7]: A5: client=home[192.0.2.50], sasl_method=PLAIN, sasl_username=anna") + modern(hour, "postfix/lmtp[2]: A5: to=<anna@example.com>, status=sent") +
		modern(hour, "postfix/smtpd[1]: A6: client=other[192.0.2.60]") + modern(hour, "postfix/lmtp[2]: A6: to=<anna@notexample.com>, status=sent") +
		modern(hour, "postfix/smtpd[1]: NOQUEUE: reject: RCPT from spam[192.0.2.70]: 554; to=<anna@example.com>")
	if err := os.WriteFile(log, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := stragglersOf(t, log, "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseStragglers(text, now.AddDate(0, 0, -7), func(netip.Addr) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].Last = got[i].Last.UTC()
	}
	want := []mail.Straggler{
		{Host: "mx.example.org [192.0.2.7]", Last: hour, Messages: 2},
		{Host: "early.example.org [192.0.2.9]", Last: day, Messages: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Whom to ignore, and since when, is the caller's to say.
	got, err = parseStragglers(text, hour, func(a netip.Addr) bool { return a.String() == "192.0.2.7" })
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v, want none", got, err)
	}
}

func TestUnreadableLogIsAnError(t *testing.T) {
	log := filepath.Join(t.TempDir(), "mail.log")
	if err := os.WriteFile(log, []byte("Jan  1 00:00:00 mx postfix/smtpd[1]: A1: client=a[192.0.2.1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log+".1.gz", []byte("not packed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := stragglersOf(t, log, "UTC"); err == nil {
		t.Errorf("half a log was taken for the whole: %q", text)
	}
}
