package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a window means the same on every machine

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// A schedule is a window: on some days of the week from a time of day to
// another, in a time zone. One whose end is not after its start ends on the next
// day and belongs to the day on which it begins.
type schedule struct {
	days       []time.Weekday // empty is every day
	start, end clockTime
	zone       *time.Location
}

// A clockTime is a time of day.
type clockTime struct{ hour, minute int }

func (t clockTime) minutes() int { return t.hour*60 + t.minute }

// on returns the moment at which the clocks in the zone show t on the day that
// is some days after date. When clocks change, t may be shown twice or never;
// [time.Date] says which moment is meant then.
func (t clockTime) on(date time.Time, days int) time.Time {
	return time.Date(date.Year(), date.Month(), date.Day()+days, t.hour, t.minute, 0, 0, date.Location())
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// newSchedule reads days, start, end and timezone; each may be null or missing.
func newSchedule(fields map[string]cty.Value) (*schedule, error) {
	known := []string{"days", "end", "start", "timezone"}
	for _, name := range names(fields) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("a window has no %q.%s It has days, start, end and timezone", name, didYouMean(name, known))
		}
	}
	s := &schedule{end: clockTime{hour: 24}}
	days, err := convert.Convert(orNull(fields["days"]), cty.List(cty.String))
	if err != nil {
		return nil, fmt.Errorf("days is a list such as [\"sat\", \"sun\"]")
	}
	if !days.IsNull() {
		for _, day := range days.AsValueSlice() {
			i := -1
			if !day.IsNull() {
				i = slices.Index(weekdays, day.AsString())
			}
			if i < 0 {
				return nil, fmt.Errorf("a day is one of mon, tue, wed, thu, fri, sat and sun")
			}
			s.days = append(s.days, time.Weekday(i))
		}
	}
	if err := s.times(fields); err != nil {
		return nil, err
	}
	zone, err := text(fields["timezone"], "UTC")
	if err == nil {
		s.zone, err = loadZone(zone)
	}
	if err != nil {
		return nil, fmt.Errorf("timezone is a name such as \"Europe/Berlin\" or \"UTC\", and %q is not known", zone)
	}
	return s, nil
}

// loadZone refuses names that mean another zone on another machine.
func loadZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("unknown time zone %q", name)
	}
	return time.LoadLocation(name)
}

func (s *schedule) times(fields map[string]cty.Value) error {
	for _, end := range []struct {
		name string
		to   *clockTime
	}{{"start", &s.start}, {"end", &s.end}} {
		written, err := text(fields[end.name], "")
		if err == nil && written == "" {
			continue
		}
		if err == nil {
			*end.to, err = parseClockTime(written)
		}
		if err != nil {
			return fmt.Errorf("%s is a time of day such as \"21:00\", and %q is not", end.name, written)
		}
	}
	if s.start.minutes() >= 24*60 {
		return fmt.Errorf("a window starts before \"24:00\"")
	}
	if s.start == s.end {
		return fmt.Errorf("a window cannot start and end at the same time; for a whole day leave both out")
	}
	return nil
}

func parseClockTime(s string) (clockTime, error) {
	if s == "24:00" {
		return clockTime{hour: 24}, nil
	}
	t, err := time.Parse("15:04", s)
	return clockTime{t.Hour(), t.Minute()}, err
}

func orNull(v cty.Value) cty.Value {
	if v == cty.NilVal {
		return cty.NullVal(cty.DynamicPseudoType)
	}
	return v
}

// text returns a value that must be a text, standing if it is null.
func text(v cty.Value, standing string) (string, error) {
	v, err := convert.Convert(orNull(v), cty.String)
	if err != nil || v.IsNull() {
		return standing, err
	}
	return v.AsString(), nil
}

// span is one occurrence of a window.
type span struct{ from, to time.Time }

// at reports whether the window is open at a moment; when a closed one opens;
// and when an open one closes (zero: never).
func (s *schedule) at(now time.Time) (open bool, until, closes time.Time) {
	local := now.In(s.zone)
	today := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, s.zone)
	// From yesterday, whose window may go on past midnight, to this day next week
	// and the day after, so that a chain of whole days shows.
	var spans []span
	for day := -1; day <= 9; day++ {
		if one := s.span(today, day); one.to.After(now) {
			spans = append(spans, one)
		}
	}
	if len(spans) == 0 || spans[0].from.After(now) {
		if len(spans) > 0 {
			until = spans[0].from
		}
		return false, until, time.Time{}
	}
	closes = spans[0].to
	for _, next := range spans[1:] {
		if next.from.After(closes) {
			return true, time.Time{}, closes
		}
		closes = next.to
	}
	// One day leads to the next for more than a week: for ever.
	return true, time.Time{}, time.Time{}
}

// span returns the window that begins some days after today; an empty one if
// none does.
func (s *schedule) span(today time.Time, day int) span {
	start := s.start.on(today, day)
	if len(s.days) > 0 && !slices.Contains(s.days, today.AddDate(0, 0, day).Weekday()) {
		return span{}
	}
	if s.end.minutes() <= s.start.minutes() {
		day++
	}
	return span{start, s.end.on(today, day)}
}
