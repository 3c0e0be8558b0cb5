package mail

import "testing"

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		in    string
		bytes int64
		out   string
	}{
		{"none", 0, "none"}, {"0", 0, "none"}, {"10GiB", 10 << 30, "10GiB"}, {" 10 GiB ", 10 << 30, "10GiB"},
		{"10240MiB", 10 << 30, "10GiB"}, {"1536MiB", 1536 << 20, "1536MiB"}, {"1GB", 1e9, "1000000000B"},
		{"1000KiB", 1000 << 10, "1000KiB"}, {"5", 5, "5B"}, {"2TiB", 2 << 40, "2TiB"},
	} {
		got, err := ParseQuota(c.in)
		if err != nil || got != c.bytes {
			t.Errorf("ParseQuota(%q) = %d, %v; want %d", c.in, got, err, c.bytes)
		}
		if out := FormatQuota(got); out != c.out {
			t.Errorf("FormatQuota(%d) = %q, want %q", got, out, c.out)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "1.5GiB", "10 GiBs", "9999999999TiB", "1e3"} {
		if got, err := ParseQuota(in); err == nil {
			t.Errorf("ParseQuota(%q) = %d, want an error", in, got)
		}
	}
}

func FuzzQuota(f *testing.F) {
	f.Add("10GiB")
	f.Fuzz(func(t *testing.T, in string) {
		bytes, err := ParseQuota(in)
		if err != nil {
			return
		}
		again, err := ParseQuota(FormatQuota(bytes))
		if err != nil || again != bytes {
			t.Errorf("%q is %d, and its normal form %d, %v", in, bytes, again, err)
		}
	})
}
