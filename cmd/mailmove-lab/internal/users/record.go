// Package users is the people of a lab at their programs. Each account has a desktop client that keeps its connection and
// waits in IDLE until somebody cuts it, and a phone that logs in anew each time by the name of the server; both flag, file,
// write drafts and delete. What a server acknowledged is recorded, so that the audit can demand it of the new server.
//
// Beside them a probe logs in to each account over and over, by IMAP and by POP3, and records how long that took and
// whether it worked: nobody may notice the move.
//
// A person uses one client at a time: the two of an account take turns, so that the order of the records is the order in
// which things happened. Flags are only ever set, never taken away.
package users

import "time"

// The records.
const (
	ActionsFile = "actions.jsonl"
	LoginsFile  = "logins.jsonl"
)

// A Verb is what somebody does with a message.
type Verb string

// The verbs.
const (
	Flag    Verb = "flag"    // set Action.Flag
	Move    Verb = "move"    // into Action.To, a folder that is made if it is not there
	Append  Verb = "append"  // a draft into Action.Folder
	Expunge Verb = "expunge" // for ever
	See     Verb = "see"     // fetch it, as a client that caches by UID does
)

// A Result is what the server said.
type Result string

// The results. An action whose answer never came may or may not have happened.
const (
	Done    Result = "done"
	Denied  Result = "denied"
	Unknown Result = "unknown"
)

// An Action is one thing a user did to one message. The message is named as IMAP does, by folder, UIDVALIDITY and UID.
type Action struct {
	Time        time.Time
	Account     string
	Client      string // "desktop" or "phone"
	Verb        Verb
	Folder      string
	UIDValidity uint32
	UID         uint32
	Flag        string `json:",omitempty"`
	To          string `json:",omitempty"`
	ToValidity  uint32 `json:",omitempty"` // of To
	ToUID       uint32 `json:",omitempty"` // what the message is called there
	Marker      string `json:",omitempty"` // of a message that came by traffic, or of a draft
	Result      Result
	Reply       string `json:",omitempty"`
}

// A Login is one try to log in.
type Login struct {
	Time     time.Time // when it began
	Account  string
	Client   string // "desktop", "phone", "imap probe", "pop3 probe"
	Duration time.Duration
	Error    string `json:",omitempty"`
	// CutOff says that the server closed the connection in the middle, and refused nothing.
	CutOff bool `json:",omitempty"`
}
