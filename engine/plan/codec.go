package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrFormat says that a plan file cannot be read by this version.
var ErrFormat = errors.New("not a plan of this version of mailmove")

// Decode reads the canonical encoding. It is strict: unknown fields and trailing
// data are errors, and what it returns encodes to the same bytes.
func Decode(data []byte) (*Plan, error) {
	var version struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("reading the plan: %w: %w", ErrFormat, err)
	}
	if version.FormatVersion != FormatVersion {
		return nil, fmt.Errorf("reading the plan: format version %d, want %d: %w", version.FormatVersion, FormatVersion, ErrFormat)
	}
	p := new(Plan)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("reading the plan: %w: %w", ErrFormat, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the plan: data after its end: %w", ErrFormat)
	}
	again, err := p.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("reading the plan: it is not in canonical form; somebody has edited it: %w", ErrFormat)
	}
	return p, nil
}

// Digest identifies the plan: SHA-256 of its canonical encoding, in hexadecimal.
func (p *Plan) Digest() (string, error) {
	data, err := p.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
