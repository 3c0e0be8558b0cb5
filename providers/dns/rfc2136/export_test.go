package rfc2136

import "time"

// SetClock makes a host sign with another clock than the machine's.
func (h *Host) SetClock(now func() time.Time) { h.now = now }
