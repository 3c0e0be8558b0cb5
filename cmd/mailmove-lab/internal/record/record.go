// Package record keeps what happened in a lab as JSON Lines: one value a line, written at once and before anything else
// follows from it, so that the account of a killed process is complete.
package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// A Log is a file being written. It may be used by several goroutines.
type Log[T any] struct {
	mutex sync.Mutex
	file  *os.File
}

// Append opens the log at path for writing at its end.
func Append[T any](path string) (*Log[T], error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	return &Log[T]{file: file}, nil
}

// Write adds an entry. After an error the log cannot be relied upon and the caller must stop.
func (l *Log[T]) Write(entry T) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("writing log: %w", err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing log: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Log[T]) Close() error { return l.file.Close() }

// Read returns the entries of the log at path; none if there is no such file.
func Read[T any](path string) ([]T, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	var entries []T
	reader := bufio.NewReader(bytes.NewReader(data))
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // a last line without its end was never acknowledged to anyone
			return entries, nil
		}
		var entry T
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, fmt.Errorf("reading %s line %d: %w", path, number, err)
		}
		entries = append(entries, entry)
	}
}
