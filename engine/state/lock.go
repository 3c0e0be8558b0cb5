package state

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// A Holder is who writes a state.
type Holder struct {
	User    string    `json:"user"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

func (h Holder) String() string {
	return fmt.Sprintf("%s@%s, process %d (%s), since %s", h.User, h.Host, h.PID, h.Command, h.Since.Format(time.RFC3339))
}

// A LockedError says who holds the lock.
type LockedError struct {
	State  string
	Holder string // "" if unknown
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return "locking the state " + e.State + ": another process holds the lock"
	}
	return "locking the state " + e.State + ": held by " + e.Holder
}

// Hint implements [providers.Error].
func (e *LockedError) Hint() string {
	return "Wait for it to end, or run the command with -lock-timeout=5m. The lock ends with the process that holds it."
}

// Temporary implements [providers.Error].
func (e *LockedError) Temporary() bool { return true }

// Lock implements [Store]: an advisory lock (flock) on a file of its own, which
// the kernel releases when the process ends in whatever way. The file's content
// is for people only.
func (f *File) Lock(holder Holder, timeout time.Duration) (func() error, error) {
	path := f.path + ".lock"
	lock := flock.New(path, flock.SetPermissions(0o600))
	deadline := time.Now().Add(timeout)
	for {
		held, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("locking the state %s: %w", f.path, err)
		}
		if held {
			break
		}
		if !time.Now().Before(deadline) {
			return nil, &LockedError{State: f.path, Holder: readHolder(path)}
		}
		time.Sleep(100 * time.Millisecond)
	}
	data, err := json.Marshal(holder)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("locking the state %s: %w", f.path, err)
	}
	return lock.Unlock, nil
}

func readHolder(path string) string {
	var h Holder
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &h) != nil {
		return ""
	}
	return h.String()
}
