package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An entry is one line of the file: a JSON object that begins with the checksum
// (CRC-32C, eight hexadecimal digits) of everything after it. Entries are numbered
// from 1 on, so that a lost or repeated line is seen. An entry is one thing that
// happened, or two that must not come apart: Settle and Rows.
type entry struct {
	CRC string `json:"crc"`
	N   int64  `json:"n"`

	Head *head `json:"ledger,omitempty"` // the first entry

	Mailbox  string   `json:"mailbox,omitempty"` // what all below are about
	Reset    *Binding `json:"reset,omitempty"`
	Begin    *begin   `json:"begin,omitempty"`
	Settle   int64    `json:"settle,omitempty"` // the intent
	Rows     *columns `json:"rows,omitempty"`
	Update   *updates `json:"update,omitempty"`
	Forget   string   `json:"forget,omitempty"` // source UIDs, as runs
	Complete *Status  `json:"complete,omitempty"`
	Remove   bool     `json:"remove,omitempty"`
}

type head struct {
	Version int  `json:"version"`
	Ends    Ends `json:"ends"`
}

type begin struct {
	ID      int64  `json:"id"`
	UIDNext uint32 `json:"uid_next"`
	UIDs    string `json:"uids"`
}

// columns are rows in the compact form of the file: what all rows have of a kind
// side by side.
type columns struct {
	Source string   `json:"source"` // runs
	Target string   `json:"target"` // runs
	Hash   string   `json:"hash"`   // all hashes one after the other, in base64
	Size   numbers  `json:"size"`
	Date   numbers  `json:"date"` // seconds since 1970
	Zone   numbers  `json:"zone"` // minutes east of UTC; once if all are the same
	Flags  []string `json:"flags"`
	Flag   numbers  `json:"flag"` // index into Flags; once if all are the same

	unpacked []Row // so that it is done once
}

// numbers are read by hand, since a ledger is mostly these.
type numbers []int64

func (n *numbers) UnmarshalJSON(text []byte) error {
	*n = make(numbers, 0, 1+bytes.Count(text, []byte{','}))
	text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte{'['}), []byte{']'})
	for len(text) > 0 {
		var word []byte
		word, text, _ = bytes.Cut(text, []byte{','})
		value, err := strconv.ParseInt(string(word), 10, 64)
		if err != nil {
			return err
		}
		*n = append(*n, value)
	}
	return nil
}

type updates struct {
	Source string   `json:"source"`
	Flags  []string `json:"flags"`
	Flag   numbers  `json:"flag"`
}

// maxRows bounds the rows and UIDs of one entry, so that a damaged or hostile file
// cannot make the ledger take much memory.
const maxRows = 10_000

const crcField = `{"crc":"`

// encode returns the line for an entry.
func encode(e entry) ([]byte, error) {
	e.CRC = "00000000"
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return nil, err
	}
	text := out.Bytes()
	from := len(crcField)
	copy(text[from:], checksum(text[from+8:]))
	return text, nil
}

// checksum covers the line from behind the checksum up to its end.
func checksum(text []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
}

// decode reads a line with its end.
func decode(text []byte) (entry, error) {
	var e entry
	from := len(crcField)
	if !bytes.HasSuffix(text, []byte("\n")) {
		return e, errors.New("the line has no end")
	}
	if len(text) < from+8 || string(text[:from]) != crcField {
		return e, errors.New("it does not begin with a checksum")
	}
	if string(text[from:from+8]) != checksum(text[from+8:]) {
		return e, errors.New("the checksum does not fit the line")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return e, err
	}
	if decoder.More() {
		return e, errors.New("data after the end of the entry")
	}
	return e, nil
}

// columnsOf packs rows.
func columnsOf(rows []Row) *columns {
	c := &columns{}
	var source, target []uint32
	var hashes []byte
	index := flagIndex{}
	for _, r := range rows {
		source, target = append(source, r.Source), append(target, r.Target)
		hashes = append(hashes, r.Hash[:]...)
		c.Size = append(c.Size, r.Size)
		c.Date = append(c.Date, r.Date.Unix())
		_, offset := r.Date.Zone()
		c.Zone = append(c.Zone, int64(offset/60))
		c.Flag = append(c.Flag, index.of(r.Flags))
	}
	c.Source, c.Target = formatRuns(source), formatRuns(target)
	c.Hash = base64.StdEncoding.EncodeToString(hashes)
	c.Flags, c.Zone, c.Flag = index.keys, fold(c.Zone), fold(c.Flag)
	return c
}

// rows unpacks columns; what does not fit together is an error.
func (c *columns) rows() ([]Row, error) {
	if c.unpacked != nil {
		return c.unpacked, nil
	}
	source, err := parseRuns(c.Source, maxRows)
	if err != nil {
		return nil, err
	}
	target, err := parseRuns(c.Target, maxRows)
	if err != nil {
		return nil, err
	}
	hashes, err := base64.StdEncoding.DecodeString(c.Hash)
	if err != nil {
		return nil, err
	}
	n := len(source)
	zones, flags := unfold(c.Zone, n), unfold(c.Flag, n)
	if len(target) != n || len(hashes) != n*sha256.Size || len(c.Size) != n || len(c.Date) != n || len(zones) != n || len(flags) != n {
		return nil, errors.New("the columns of the rows differ in length")
	}
	sets, err := parseFlags(c.Flags)
	if err != nil {
		return nil, err
	}
	places := map[int64]*time.Location{}
	rows := make([]Row, n)
	for i := range rows {
		if flags[i] < 0 || flags[i] >= int64(len(sets)) {
			return nil, fmt.Errorf("flags %d of %d", flags[i], len(sets))
		}
		place, err := location(places, zones[i])
		if err != nil {
			return nil, err
		}
		rows[i] = Row{Source: source[i], Target: target[i], Size: c.Size[i], Date: time.Unix(c.Date[i], 0).In(place), Flags: sets[flags[i]]}
		copy(rows[i].Hash[:], hashes[i*sha256.Size:])
	}
	c.unpacked = rows
	return rows, nil
}

func location(places map[int64]*time.Location, minutes int64) (*time.Location, error) {
	if minutes < math.MinInt16 || minutes > math.MaxInt16 {
		return nil, fmt.Errorf("zone %d", minutes)
	}
	if places[minutes] == nil {
		places[minutes] = time.FixedZone("", int(minutes)*60)
	}
	return places[minutes], nil
}

// updatesOf packs flags by source UID.
func updatesOf(flags map[uint32][]string) *updates {
	u := &updates{}
	var source []uint32
	index := flagIndex{}
	for uid := range flags {
		source = append(source, uid)
	}
	slices.Sort(source)
	for _, uid := range source {
		u.Flag = append(u.Flag, index.of(flags[uid]))
	}
	u.Source, u.Flags, u.Flag = formatRuns(source), index.keys, fold(u.Flag)
	return u
}

// each gives the flags of every UID.
func (u *updates) each(give func(uid uint32, flags []string) error) error {
	source, err := parseRuns(u.Source, maxRows)
	if err != nil {
		return err
	}
	flags := unfold(u.Flag, len(source))
	if len(flags) != len(source) {
		return errors.New("the columns of the flags differ in length")
	}
	sets, err := parseFlags(u.Flags)
	if err != nil {
		return err
	}
	for i, uid := range source {
		if flags[i] < 0 || flags[i] >= int64(len(sets)) {
			return fmt.Errorf("flags %d of %d", flags[i], len(sets))
		}
		if err := give(uid, sets[flags[i]]); err != nil {
			return err
		}
	}
	return nil
}

// A flagIndex numbers sets of flags.
type flagIndex struct {
	keys   []string
	places map[string]int64
}

func (x *flagIndex) of(flags []string) int64 {
	key := flagKey(flags)
	n, ok := x.places[key]
	if !ok {
		if x.places == nil {
			x.places = map[string]int64{}
		}
		n = int64(len(x.keys))
		x.keys, x.places[key] = append(x.keys, key), n
	}
	return n
}

// flagKey is a set of flags as one string: no flag has a space, RFC 9051 section 9.
func flagKey(flags []string) string {
	sorted := slices.Clone(flags)
	slices.Sort(sorted)
	return strings.Join(slices.Compact(sorted), " ")
}

// parseFlags reads keys; only what flagKey writes is one.
func parseFlags(keys []string) ([][]string, error) {
	sets := make([][]string, len(keys))
	for i, key := range keys {
		sets[i] = strings.Fields(key)
		if flagKey(sets[i]) != key {
			return nil, fmt.Errorf("flags %q: not in order", key)
		}
	}
	return sets, nil
}

// fold makes one value of many equal ones.
func fold(values numbers) numbers {
	if len(slices.Compact(slices.Clone(values))) == 1 {
		return values[:1]
	}
	return values
}

func unfold(values numbers, n int) numbers {
	if len(values) == 1 && n > 1 {
		return slices.Repeat(values, n)
	}
	return values
}
