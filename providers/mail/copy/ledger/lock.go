package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// A holder is the process that writes a ledger.
type holder struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

func (h holder) String() string {
	return fmt.Sprintf("process %d on %s, since %s", h.PID, h.Host, h.Since.Format(time.RFC3339))
}

// A LockedError says that another copier is at work on the account.
type LockedError struct {
	Path   string
	Holder string // "" if unknown
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return "locking the ledger " + e.Path + ": another copier holds it"
	}
	return "locking the ledger " + e.Path + ": another copier holds it: " + e.Holder
}

// Hint implements [providers.Error].
func (e *LockedError) Hint() string {
	return "Wait for it to end: two copiers of one account would copy its messages twice. The lock ends with the process that holds it."
}

// Temporary implements [providers.Error].
func (e *LockedError) Temporary() bool { return true }

// acquire takes the lock beside path: an advisory lock (flock) on a file of its own,
// which the kernel releases when the process ends in whatever way and which is never
// renamed. The file's content is for people only.
func acquire(path string) (*flock.Flock, error) {
	name := path + ".lock"
	lock := flock.New(name, flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the ledger %s: %w", path, err)
	}
	if !held {
		return nil, &LockedError{Path: path, Holder: readHolder(name)}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	data, err := json.Marshal(holder{Host: host, PID: os.Getpid(), Since: time.Now()})
	if err == nil {
		err = os.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the ledger %s: %w", path, err), lock.Unlock())
	}
	return lock, nil
}

func readHolder(name string) string {
	var h holder
	data, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(data, &h) != nil {
		return ""
	}
	return h.String()
}
