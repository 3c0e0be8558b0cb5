package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// A line of the journal: an entry with its number, its length in bytes, its
// checksum (CRC-32C) and the hash of the line before it, so that a lost, torn,
// repeated or foreign line is seen.
type line struct {
	Seq   int64           `json:"seq"`
	Len   int             `json:"len"`
	CRC   string          `json:"crc"`
	Prev  string          `json:"prev"`
	Entry json.RawMessage `json:"entry"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(data, castagnoli)) }

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// journal is the tail to which lines are added.
type journal struct {
	seq  int64
	prev string // hash of the last line; "" in an empty journal
}

// encode returns the lines for entries and moves the tail behind them.
func (j *journal) encode(entries []Entry) ([]byte, error) {
	var out bytes.Buffer
	for _, e := range entries {
		data, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("writing the journal: %w", err)
		}
		j.seq++
		text, err := json.Marshal(line{Seq: j.seq, Len: len(data), CRC: checksum(data), Prev: j.prev, Entry: data})
		if err != nil {
			return nil, fmt.Errorf("writing the journal: %w", err)
		}
		j.prev = hash(text)
		out.Write(text)
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// replay reads a journal and gives every entry to apply with its number. It
// returns the length of the intact part: a torn last line is what a crash leaves
// and is not an error; anything else is, with its line number.
func (j *journal) replay(data []byte, apply func(seq int64, e Entry) error) (intact int, number int, err error) {
	for intact < len(data) {
		number++
		end := bytes.IndexByte(data[intact:], '\n')
		last := end < 0 || intact+end+1 == len(data)
		if end < 0 {
			return intact, number, nil
		}
		text := data[intact : intact+end]
		l, e, err := j.decode(text)
		if err != nil {
			if last && !json.Valid(text) {
				return intact, number, nil
			}
			return intact, number, err
		}
		if err := apply(l.Seq, e); err != nil {
			return intact, number, err
		}
		j.seq, j.prev = l.Seq, hash(text)
		intact += end + 1
	}
	return intact, number, nil
}

func (j *journal) decode(text []byte) (line, Entry, error) {
	var l line
	var e Entry
	if err := strict(text, &l); err != nil {
		return l, e, err
	}
	switch {
	case l.Len != len(l.Entry):
		return l, e, fmt.Errorf("the entry has %d bytes, not %d", len(l.Entry), l.Len)
	case l.CRC != checksum(l.Entry):
		return l, e, errors.New("the checksum does not fit the entry")
	case l.Prev != j.prev:
		return l, e, errors.New("the line does not follow the one before it")
	case j.prev != "" && l.Seq != j.seq+1:
		return l, e, fmt.Errorf("the line has the number %d, want %d", l.Seq, j.seq+1)
	}
	return l, e, strict(l.Entry, &e)
}

// strict decodes one JSON value and nothing else; unknown fields are errors.
func strict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("data after the end of the value")
	}
	return nil
}
