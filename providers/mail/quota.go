package mail

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// noQuota is the normal form of "no limit".
const noQuota = "none"

// The units of a quota, largest first.
var quotaUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseQuota reads a limit such as "10GiB", "500 MB", a number of bytes, or
// "none" (which is 0).
func ParseQuota(s string) (int64, error) {
	text := strings.TrimSpace(s)
	if text == noQuota {
		return 0, nil
	}
	factor := int64(1)
	for _, unit := range quotaUnits {
		if number, ok := strings.CutSuffix(text, unit.name); ok {
			text, factor = strings.TrimSpace(number), unit.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("quota %q: want a whole number with KiB, MiB, GiB or TiB (or kB, MB, GB, TB), or \"none\"", s)
	}
	return n * factor, nil
}

// FormatQuota returns the normal form: the largest binary unit that is exact.
func FormatQuota(bytes int64) string {
	if bytes <= 0 {
		return noQuota
	}
	for _, unit := range quotaUnits[:4] {
		if bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(bytes, 10) + "B"
}
