package remote

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unknown reports whether err leaves open what happened on the machine: the
// script may have run, in whole or in part. Only an observation settles that.
func Unknown(err error) bool {
	var u interface{ Unknown() bool }
	return errors.As(err, &u) && u.Unknown()
}

// Temporary reports whether nothing was done on the machine and the same call may
// be repeated as it is.
func Temporary(err error) bool {
	var t interface {
		Hint() string
		Temporary() bool
	}
	return errors.As(err, &t) && t.Temporary()
}

// An UnreachableError says that no connection came about.
type UnreachableError struct {
	Machine, Address string
	Err              error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("connecting to %s (%s): %v", e.Machine, e.Address, e.Err)
}
func (e *UnreachableError) Unwrap() error   { return e.Err }
func (e *UnreachableError) Temporary() bool { return true }
func (e *UnreachableError) Hint() string {
	return "Check address and port, that sshd runs there and that no firewall is between: " + sshCommand(e.Machine)
}

// A TimeoutError says that no connection came about in time.
type TimeoutError struct {
	Machine, Address string
	Err              error
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("connecting to %s (%s): no answer in time: %v", e.Machine, e.Address, e.Err)
}
func (e *TimeoutError) Unwrap() error   { return e.Err }
func (e *TimeoutError) Temporary() bool { return true }
func (e *TimeoutError) Hint() string {
	return "Check that nothing drops the packets (firewall, fail2ban), or raise connect_timeout."
}

// A KeyError says that a private key of ours cannot be used.
type KeyError struct {
	Machine, File string
	Err           error
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("connecting to %s: reading key %s: %v", e.Machine, e.File, e.Err)
}
func (e *KeyError) Unwrap() error   { return e.Err }
func (e *KeyError) Temporary() bool { return false }
func (e *KeyError) Hint() string {
	return "Name a readable private key; one with a passphrase goes into the agent: ssh-add " + e.File
}

// An AuthError says that the server takes none of our keys.
type AuthError struct {
	Machine string
	// Tried lists the keys that were offered, by file or agent comment and fingerprint.
	Tried []string
	Err   error
}

func (e *AuthError) Error() string {
	tried := "no key was offered"
	if len(e.Tried) > 0 {
		tried = "refused " + strings.Join(e.Tried, ", ")
	}
	return fmt.Sprintf("logging in to %s: %s", e.Machine, tried)
}
func (e *AuthError) Unwrap() error   { return e.Err }
func (e *AuthError) Temporary() bool { return false }
func (e *AuthError) Hint() string {
	return "Put the public key into ~/.ssh/authorized_keys of that user: " + strings.Replace(sshCommand(e.Machine), "ssh", "ssh-copy-id", 1)
}

// A SudoError says that the user may not become root without a password.
type SudoError struct {
	Machine string
	User    string
	// Said is sudo's own message.
	Said string
}

func (e *SudoError) Error() string {
	return fmt.Sprintf("becoming root on %s: %s", e.Machine, e.Said)
}
func (e *SudoError) Temporary() bool { return false }
func (e *SudoError) Hint() string {
	return fmt.Sprintf("Log in as root, or let the user in with visudo: %s ALL=(root) NOPASSWD: ALL", e.User)
}

// A ShellError says that the server began a session but ran something else than
// our shell: a forced command, nologin, a start-up file that ends or reads input.
type ShellError struct {
	Machine string
	Status  int
	Said    string
}

func (e *ShellError) Error() string {
	said := "it said nothing"
	if e.Said != "" {
		said = "it said: " + e.Said
	}
	return fmt.Sprintf("starting /bin/sh on %s: the login ended with status %d; %s", e.Machine, e.Status, said)
}
func (e *ShellError) Temporary() bool { return false }
func (e *ShellError) Hint() string {
	return fmt.Sprintf("The key must not be bound to a command and the user needs a shell; see: %s true", sshCommand(e.Machine))
}

// A CutError says that the connection was lost, or ctx ended, before the script
// was seen to end.
type CutError struct {
	Machine, Doing string
	// Began is false if the script certainly did not begin.
	Began bool
	Err   error
}

func (e *CutError) Error() string {
	if !e.Began {
		return fmt.Sprintf("%s on %s: interrupted before it began: %v", e.Doing, e.Machine, e.Err)
	}
	return fmt.Sprintf("%s on %s: interrupted, outcome unknown: %v", e.Doing, e.Machine, e.Err)
}
func (e *CutError) Unwrap() error   { return e.Err }
func (e *CutError) Temporary() bool { return !e.Began }
func (e *CutError) Unknown() bool   { return e.Began }
func (e *CutError) Hint() string {
	if !e.Began {
		return "Run the same command again."
	}
	return "Run the same command again: it first looks at what is there."
}

// An OutputError says that a script wrote more than its bound and was stopped.
type OutputError struct {
	Machine, Doing string
	Limit          int
}

func (e *OutputError) Error() string {
	return fmt.Sprintf("%s on %s: more than %d bytes of output", e.Doing, e.Machine, e.Limit)
}
func (e *OutputError) Temporary() bool { return false }
func (e *OutputError) Unknown() bool   { return true }
func (e *OutputError) Hint() string {
	return "Look on the server at what the command prints."
}

// An ExitError says that a script ended with a status other than 0.
type ExitError struct {
	Machine, Doing string
	Status         int
	Stderr         string // its end, printable
}

func (e *ExitError) Error() string {
	s := fmt.Sprintf("%s on %s: exit status %d", e.Doing, e.Machine, e.Status)
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}
func (e *ExitError) Temporary() bool { return false }
func (e *ExitError) Hint() string    { return "The cause is the server's own message above." }

// printable makes one line of what a machine wrote, short and without a byte that
// could move a terminal's cursor or turn its text around. The end is kept, where
// programs put the cause.
func printable(text []byte) string {
	const most = 600
	s := strings.TrimSpace(string(text))
	if len(s) > most {
		s = s[len(s)-most:]
		for len(s) > 0 && !utf8.RuneStart(s[0]) {
			s = s[1:]
		}
		s = "… " + s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co):
			return '\uFFFD'
		}
		return r
	}, s)
}

// A ConflictError says that a file is not as it was expected. It is unchanged.
type ConflictError struct {
	Machine, Path string
	Want, Got     string // digests; empty for no file
}

func (e *ConflictError) Error() string {
	name := func(digest string) string {
		if digest == "" {
			return "no file"
		}
		return "SHA-256 " + digest
	}
	return fmt.Sprintf("editing %s on %s: expected %s, found %s", e.Path, e.Machine, name(e.Want), name(e.Got))
}
func (e *ConflictError) Temporary() bool { return false }
func (e *ConflictError) Hint() string {
	return "Somebody else changed the file meanwhile. Look at it, then plan again: mailmove plan"
}

// A RefusedError says that a file cannot be replaced safely. It is unchanged.
type RefusedError struct {
	Machine, Path, Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("editing %s on %s: %s", e.Path, e.Machine, e.Reason)
}
func (e *RefusedError) Temporary() bool { return false }
func (e *RefusedError) Hint() string {
	return "Whoever may write there could turn the edit against the server: correct owner, mode or link, then try again."
}

// An InvalidError says that the new content did not pass its validation. The file
// is unchanged.
type InvalidError struct {
	Machine, Path string
	Said          string // by the validation
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("editing %s on %s: the new content is not valid: %s", e.Path, e.Machine, e.Said)
}
func (e *InvalidError) Temporary() bool { return false }
func (e *InvalidError) Hint() string {
	return "The file is as it was. See what the server's own check says."
}

// A LockedError says that another edit holds the machine's lock. Nothing is changed.
type LockedError struct {
	Machine, Lock string
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("editing files on %s: another edit holds %s", e.Machine, e.Lock)
}
func (e *LockedError) Temporary() bool { return true }
func (e *LockedError) Hint() string {
	return "Wait for the other run to end; who it is: fuser -v " + e.Lock
}

// A TornError says that an edit of several files failed half-way and that one of
// them could not be taken back, because somebody changed it at the same moment.
type TornError struct {
	Machine, Path, Said string
}

func (e *TornError) Error() string {
	return fmt.Sprintf("editing files on %s: stopped half-way: %s", e.Machine, e.Said)
}
func (e *TornError) Temporary() bool { return false }
func (e *TornError) Unknown() bool   { return true }
func (e *TornError) Hint() string {
	return "Compare " + e.Path + " with the backup named above and put right by hand what differs."
}

// sshCommand is how a person reaches a machine, given its Runner's String.
func sshCommand(machine string) string {
	at := strings.LastIndexByte(machine, '@')
	user, address := machine[:max(at, 0)], machine[at+1:]
	if host, port, err := net.SplitHostPort(address); err == nil && port != "" {
		return "ssh -p " + port + " " + user + "@" + host
	}
	return "ssh " + machine
}
