package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// formatRuns writes UIDs in their order, runs of consecutive ones as FIRST:LAST, as
// in IMAP's uid-set; unlike in a set the order is kept: "7:9,3" is 7, 8, 9, 3.
func formatRuns(uids []uint32) string {
	var out strings.Builder
	for i := 0; i < len(uids); {
		last := i
		for last+1 < len(uids) && uids[last]+1 == uids[last+1] {
			last++
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(strconv.FormatUint(uint64(uids[i]), 10))
		if last > i {
			out.WriteByte(':')
			out.WriteString(strconv.FormatUint(uint64(uids[last]), 10))
		}
		i = last + 1
	}
	return out.String()
}

// parseRuns reads what formatRuns wrote: at most limit UIDs, none of them 0.
func parseRuns(text string, limit int) ([]uint32, error) {
	if text == "" {
		return nil, nil
	}
	var uids []uint32
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRun := strings.Cut(part, ":")
		first, err := parseUID(from)
		if err != nil {
			return nil, err
		}
		last := first
		if isRun {
			if last, err = parseUID(to); err != nil {
				return nil, err
			}
		}
		if last < first || (isRun && last == first) {
			return nil, fmt.Errorf("UIDs %q: no run", part)
		}
		if uint64(len(uids))+uint64(last-first)+1 > uint64(limit) {
			return nil, fmt.Errorf("more than %d UIDs", limit)
		}
		for uid := first; ; uid++ {
			uids = append(uids, uid)
			if uid == last {
				break
			}
		}
	}
	return uids, nil
}

func parseUID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("UID %q: %w", text, errors.Unwrap(err))
	}
	if n == 0 {
		return 0, errors.New("UID 0")
	}
	return uint32(n), nil
}
