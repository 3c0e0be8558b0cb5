package wire

import (
	"strconv"
	"strings"
)

// appendUID reads the argument of APPENDUID (RFC 4315 section 3) for n messages: the
// mailbox's UIDVALIDITY and a UID for each message, in their order. What is not clear is
// 0: a set of another size, a range from high to low, a UID that is there twice.
func appendUID(argument string, n int) (uint32, []uint32) {
	unknown := make([]uint32, n)
	number, set, ok := strings.Cut(argument, " ")
	validity, valid := parseNumber(number)
	if !ok || !valid {
		return 0, unknown
	}
	uids := make([]uint32, 0, n)
	seen := make(map[uint32]bool, n)
	for part := range strings.SplitSeq(set, ",") {
		low, high, ranged := strings.Cut(part, ":")
		if !ranged {
			high = low
		}
		first, ok1 := parseNumber(low)
		last, ok2 := parseNumber(high)
		if !ok1 || !ok2 || last < first || uint64(last-first)+1 > uint64(n-len(uids)) {
			return validity, unknown
		}
		for i := range last - first + 1 {
			uid := first + i
			if seen[uid] {
				return validity, unknown
			}
			seen[uid] = true
			uids = append(uids, uid)
		}
	}
	if len(uids) != n {
		return validity, unknown
	}
	return validity, uids
}

// parseNumber reads a number of 32 bits that is not 0 (RFC 9051 section 9, nz-number).
func parseNumber(s string) (uint32, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n > 0
}
