package remote

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// bootstrap receives a script and runs it. It is the argument of sh -c inside
// single quotes on a line that any login shell reads (sh, bash, zsh, fish, csh):
// so it holds no single quote, backslash, exclamation mark or newline. "$1" is
// the length of the program, "$2" that of standard input, or "stream".
//
// The connection carries the program, standard input and one dot. Only when all
// three are there does anything run, so that a connection cut while sending has
// no effect. Standard input is spooled to a file that is unlinked at once: the
// script then never shares a descriptor with this shell, which may read ahead.
//
// The begin lines hold the expanded nonce, so that no echo of the command line by
// a login shell (set -x, set -v) can look like one.
const bootstrap = `umask 077; cd /; ` +
	`torn() { echo "mailmove: the script did not arrive whole" >&2; exit 96; }; ` +
	`p=$(head -c "$1"); ` +
	`case $p in *"#$MAILMOVE_RUN") ;; *) torn ;; esac; ` +
	`case $2 in stream | 0) ;; ` +
	`*) for d in /run /dev/shm /tmp; do t=$(mktemp "$d/mailmove.XXXXXXXX" 2>/dev/null) && break; done; ` +
	`head -c "$2" >"$t"; exec 3<"$t"; rm -f "$t"; ` +
	`[ "$(stat -L -c %s /proc/self/fd/3)" = "$2" ] || torn ;; ` +
	`esac; ` +
	`[ "$(head -c 1)" = . ] || torn; ` +
	`case $2 in stream) ;; 0) exec </dev/null ;; *) exec <&3 3<&- ;; esac; ` +
	`echo "mailmove:$MAILMOVE_RUN:begin $$"; echo "mailmove:$MAILMOVE_RUN:begin" >&2; ` +
	`eval "$p"`

// A frame is a command ready to be sent.
type frame struct {
	nonce string
	// line is what the login shell gets. It holds nothing but constants, lengths
	// and the nonce.
	line string
	// payload is what goes to standard input; the script begins to run only after
	// its last byte has arrived.
	payload []byte
	// sudo is set if the shell is started through sudo.
	sudo bool
}

// newFrame lays out a command. With sudo the shell runs as root; path is the
// script's PATH, which must need no quoting.
func newFrame(c Command, stream, sudo bool, path string) (frame, error) {
	for i, a := range c.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return frame{}, fmt.Errorf("%s: parameter %d holds a NUL byte", c.Name, i+1)
		}
	}
	if stream && c.Stdin != nil {
		return frame{}, fmt.Errorf("%s: a stream cannot have Stdin", c.Name)
	}
	var random [16]byte
	rand.Read(random[:]) // never fails since Go 1.24
	f := frame{nonce: hex.EncodeToString(random[:]), sudo: sudo}

	program := program(c.Script, c.Args) + "\n#" + f.nonce
	input := fmt.Sprint(len(c.Stdin))
	if stream {
		input = "stream"
	}
	shell := fmt.Sprintf("/usr/bin/env -i PATH=%s LC_ALL=C MAILMOVE_RUN=%s /bin/sh -c '%s' mailmove %d %s",
		path, f.nonce, bootstrap, len(program), input)
	if sudo {
		// The outer env puts sudo's own messages into English.
		shell = "/usr/bin/env LC_ALL=C sudo -n -- " + shell
	}
	f.line = "exec " + shell
	f.payload = append(append([]byte(program), c.Stdin...), '.')
	return f, nil
}

// program is the script with its positional parameters set.
func program(script string, args []string) string {
	var b strings.Builder
	b.WriteString("set --")
	for _, a := range args {
		b.WriteByte(' ')
		b.WriteString(quote(a))
	}
	b.WriteByte('\n')
	b.WriteString(script)
	return b.String()
}

// quote makes one word of s for a POSIX shell. Within single quotes every byte
// but the single quote stands for itself (POSIX.1-2017, Shell Command Language,
// section 2.2.2).
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// begin is the line that marks where the script's own output starts.
func (f frame) begin() []byte { return []byte("mailmove:" + f.nonce + ":begin") }

// afterBegin splits output at the begin line: what came before it is noise of
// the login, rest is the remainder of the line and head what follows. found is
// false while the line is not complete.
func (f frame) afterBegin(out []byte) (noise, rest, head []byte, found bool) {
	noise, tail, found := bytes.Cut(out, f.begin())
	if !found {
		return out, nil, nil, false
	}
	rest, head, found = bytes.Cut(tail, []byte("\n"))
	if !found {
		return out, nil, nil, false
	}
	return noise, rest, head, true
}
