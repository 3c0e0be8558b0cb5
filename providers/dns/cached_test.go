package dns

import (
	"testing"
	"time"
)

// A glance is one look at the MX of a zone with two servers, some time after the
// start. Each text is "TTL target"; the host holds head.
type glance struct {
	after              time.Duration
	head, first, other string
	// want is cached_until, after the start.
	want time.Duration
}

// TestCachedUntil plays looks one after the other, each with what the one before
// left in the state.
func TestCachedUntil(t *testing.T) {
	const (
		old300, old3600, old86400 = "300 old", "3600 old", "86400 old"
		new60, new300, hand7200   = "60 new", "300 new", "7200 hand"
	)
	for _, test := range []struct {
		name    string
		glances []glance
	}{
		{"nothing changes", []glance{
			{0, old3600, old3600, old3600, 0},
			{time.Hour, old3600, old3600, old3600, 0},
		}},
		{"TTL lowered", []glance{
			{0, old3600, old3600, old3600, 0},
			{time.Minute, old300, old300, old300, time.Minute + time.Hour},
			{2 * time.Hour, old300, old300, old300, time.Minute + time.Hour},
		}},
		{"TTL lowered twice: the highest counts", []glance{
			{0, old86400, old86400, old86400, 0},
			{time.Minute, old3600, old3600, old3600, time.Minute + 24*time.Hour},
			{2 * time.Minute, old300, old300, old300, time.Minute + 24*time.Hour},
		}},
		{"replaced later: counted from then", []glance{
			{0, old3600, old3600, old3600, 0},
			{time.Minute, old300, old300, old300, time.Minute + time.Hour},
			{5 * time.Hour, new300, new300, new300, 5*time.Hour + 300*time.Second},
		}},
		{"TTL raised by hand and lowered again", []glance{
			{0, old300, old300, old300, 0},
			{time.Hour, hand7200, hand7200, hand7200, time.Hour + 300*time.Second},
			{2 * time.Hour, old300, old300, old300, 4 * time.Hour},
		}},
		{"a server lags", []glance{
			{0, old3600, old3600, old3600, 0},
			{time.Minute, new60, new60, old3600, time.Minute + time.Hour},
			{30 * time.Minute, new60, new60, old3600, 90 * time.Minute},
			{40 * time.Minute, new60, new60, new60, 100 * time.Minute},
			{50 * time.Minute, new60, new60, new60, 100 * time.Minute},
		}},
		{"a server lags behind a change that is not ours", []glance{
			{0, hand7200, hand7200, old3600, time.Hour},
			{time.Hour, hand7200, hand7200, hand7200, time.Hour + 2*time.Hour},
		}},
		{"the clock jumps back", []glance{
			{0, old3600, old3600, old3600, 0},
			{time.Hour, old300, old300, old300, 2 * time.Hour},
			{-24 * time.Hour, old300, old300, old300, 2 * time.Hour},
			{-24 * time.Hour, new60, new60, new60, 2 * time.Hour},
		}},
		{"fractions of a second count as whole", []glance{
			{0, old3600, old3600, old3600, 0},
			{time.Minute + time.Millisecond, old300, old300, old300, time.Minute + time.Second + time.Hour},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			var last *rrsetValue
			for i, g := range test.glances {
				v := view{at: start.Add(g.after), head: mx(t, g.head)}
				for address, text := range map[string]string{"192.0.2.1:53": g.first, "192.0.2.2:53": g.other} {
					v.answers = append(v.answers, answer{server: Server{Address: address}, set: mx(t, text)})
				}
				desired := &rrsetValue{Name: zone, Type: "MX", Records: []string{"10 new.example.com."}, Exclusive: true}
				last = describe(v, desired, last)
				if got, want := *last.CachedUntil, *formatTime(start.Add(g.want)); got != want {
					t.Errorf("look %d: got %s, want %s", i, got, want)
				}
			}
		})
	}
}

func mx(t *testing.T, text string) RRset {
	t.Helper()
	var ttl, target = 0, ""
	for i, c := range text {
		if c == ' ' {
			target = text[i+1:]
			break
		}
		ttl = ttl*10 + int(c-'0')
	}
	record, err := NewRecord("MX", "10 "+target, zone)
	if err != nil {
		t.Fatal(err)
	}
	return RRset{Name: zone, Type: "MX", TTL: uint32(ttl), Records: []Record{record}}
}
