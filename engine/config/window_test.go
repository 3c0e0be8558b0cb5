package config

import (
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
)

func TestWindow(t *testing.T) {
	saturdayNight := map[string]cty.Value{
		"days": cty.TupleVal([]cty.Value{cty.StringVal("sat")}), "start": cty.StringVal("21:00"),
		"end": cty.StringVal("03:00"), "timezone": cty.StringVal("Europe/Berlin"),
	}
	weekend := map[string]cty.Value{"days": cty.TupleVal([]cty.Value{cty.StringVal("sat"), cty.StringVal("sun")})}
	nightly := map[string]cty.Value{"start": cty.StringVal("22:00"), "end": cty.StringVal("04:00"), "timezone": cty.StringVal("Europe/Berlin")}
	for _, test := range []struct {
		name                string
		fields              map[string]cty.Value
		now                 string
		open                bool
		wantUntil, wantEnds string
	}{
		{"before", saturdayNight, "2026-01-31T20:59:59+01:00", false, "2026-01-31T21:00:00+01:00", ""},
		{"at its start", saturdayNight, "2026-01-31T21:00:00+01:00", true, "", "2026-02-01T03:00:00+01:00"},
		{"after midnight", saturdayNight, "2026-02-01T02:59:59+01:00", true, "", "2026-02-01T03:00:00+01:00"},
		{"at its end", saturdayNight, "2026-02-01T03:00:00+01:00", false, "2026-02-07T21:00:00+01:00", ""},
		{"saturday before dawn belongs to friday", saturdayNight, "2026-01-31T02:00:00+01:00", false, "2026-01-31T21:00:00+01:00", ""},
		// On 29 March 2026 clocks go from 02:00 to 03:00, on 25 October from 03:00 to
		// 02:00: the window is an hour shorter or longer, and the next one keeps its
		// time of day.
		{"clocks forward", saturdayNight, "2026-03-28T22:00:00+01:00", true, "", "2026-03-29T03:00:00+02:00"},
		{"clocks back", saturdayNight, "2026-10-25T02:30:00+01:00", true, "", "2026-10-25T03:00:00+01:00"},
		{"the week after", saturdayNight, "2026-03-29T12:00:00+02:00", false, "2026-04-04T21:00:00+02:00", ""},
		{"two days in one", weekend, "2026-01-31T12:00:00Z", true, "", "2026-02-02T00:00:00Z"},
		{"second of two days", weekend, "2026-02-01T12:00:00Z", true, "", "2026-02-02T00:00:00Z"},
		{"after the weekend", weekend, "2026-02-02T00:00:00Z", false, "2026-02-07T00:00:00Z", ""},
		{"every night, by day", nightly, "2026-02-03T12:00:00+01:00", false, "2026-02-03T22:00:00+01:00", ""},
		{"every night, by night", nightly, "2026-02-03T01:00:00+01:00", true, "", "2026-02-03T04:00:00+01:00"},
		{"always", map[string]cty.Value{}, "2026-02-03T01:00:00Z", true, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := newSchedule(test.fields)
			if err != nil {
				t.Fatal(err)
			}
			open, until, closes := s.at(moment(t, test.now))
			if open != test.open || !until.Equal(moment(t, test.wantUntil)) || !closes.Equal(moment(t, test.wantEnds)) {
				t.Errorf("got open %v, until %v, closes %v; want %v, %q, %q", open, until, closes, test.open, test.wantUntil, test.wantEnds)
			}
		})
	}
}

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	m, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
