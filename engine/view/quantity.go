package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/mailmove/mailmove/engine/plan"
)

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func add(a, b plan.Estimate) plan.Estimate {
	return plan.Estimate{Bytes: a.Bytes + b.Bytes, Messages: a.Messages + b.Messages, Duration: a.Duration + b.Duration}
}

// estimate says what a change will cost, "" if nobody knows.
func estimate(e plan.Estimate) string {
	var parts []string
	if e.Messages > 0 {
		parts = append(parts, fmt.Sprintf("%s messages", thousands(e.Messages)))
	}
	if e.Bytes > 0 {
		parts = append(parts, Bytes(e.Bytes))
	}
	if e.Duration > 0 {
		parts = append(parts, "about "+Duration(e.Duration)+" of work")
	}
	return strings.Join(parts, ", ")
}

func thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Bytes returns a size for people, in powers of 1024.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB", "PiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// Duration returns a time for people: two units at most.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Round(time.Second).Seconds()))
	case d < time.Hour:
		return trimmed(d.Round(time.Second), time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return trimmed(d.Round(time.Minute), time.Hour, "h", time.Minute, "m")
	}
	return trimmed(d.Round(time.Hour), 24*time.Hour, "d", time.Hour, "h")
}

func trimmed(d, big time.Duration, bigUnit string, small time.Duration, smallUnit string) string {
	text := fmt.Sprintf("%d%s", d/big, bigUnit)
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf("%d%s", rest, smallUnit)
	}
	return text
}
