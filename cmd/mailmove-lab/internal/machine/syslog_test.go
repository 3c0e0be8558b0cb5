package machine

import (
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	now := time.Date(2026, 11, 23, 21, 4, 5, 678901000, time.UTC)
	tests := []struct{ name, datagram, file, line string }{
		{"mail", "<22>Nov 23 21:04:05 postfix/qmgr[12]: removed", "/var/log/mail.log", "2026-11-23T21:04:05.678901+00:00 old postfix/qmgr[12]: removed\n"},
		{"day of one digit", "<22>Nov  3 21:04:05 postfix/qmgr[12]: removed", "/var/log/mail.log", "2026-11-23T21:04:05.678901+00:00 old postfix/qmgr[12]: removed\n"},
		{"other", "<86>Nov 23 21:04:05 sudo: admin", "/var/log/syslog", "2026-11-23T21:04:05.678901+00:00 old sudo: admin\n"},
		{"no time", "<22>policyd-spf[3]: Pass", "/var/log/mail.log", "2026-11-23T21:04:05.678901+00:00 old policyd-spf[3]: Pass\n"},
		{"no priority", "hello", "/var/log/syslog", "2026-11-23T21:04:05.678901+00:00 old hello\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file, line := format("old", now, tt.datagram)
			if file != tt.file || line != tt.line {
				t.Errorf("got %q in %s, want %q in %s", line, file, tt.line, tt.file)
			}
		})
	}
}
