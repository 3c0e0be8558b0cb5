package copytest

import "testing"

func TestUTF7(t *testing.T) {
	for name, want := range map[string]string{
		"INBOX":              "INBOX",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-", // RFC 3501 section 5.1.3
		"Entwürfe & Ideen":   "Entw&APw-rfe &- Ideen",
		"&-":                 "&--",
		"\U0001F4EC":         "&2D3c7A-",
		"a\tb":               "a&AAk-b",
		"":                   "",
	} {
		got := encodeUTF7(name)
		if got != want {
			t.Errorf("%q is encoded as %q, want %q", name, got, want)
		}
		if back, err := decodeUTF7(got); err != nil || back != name {
			t.Errorf("%q is decoded as %q (%v), want %q", got, back, err, name)
		}
	}
	for _, bad := range []string{"&", "&AB", "&A-", "&AB*-"} {
		if name, err := decodeUTF7(bad); err == nil {
			t.Errorf("%q is decoded as %q, want an error", bad, name)
		}
	}
}
