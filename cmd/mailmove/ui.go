package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/view"
	"github.com/mailmove/mailmove/providers"
)

// Everything that a person or a program sees is printed here, by this policy:
//
//   - Results go to standard output; the course of work, questions and errors go to
//     standard error. So "mailmove plan > file" holds the plan and nothing else.
//   - With -json all goes to standard output, one JSON value a line, errors too
//     ({"type":"error", …}).
//   - What came from outside is cleaned (view.Clean). A text of several lines stands
//     behind a bar, so that no line of it can pass for one of ours.
//   - An error names the object, the cause and what to do next.
//   - Colours and lines that are overwritten appear on terminals only.

// ui prints. Its methods are safe for concurrent use.
type ui struct {
	in       *os.File
	out, err io.Writer

	mu       sync.Mutex
	json     bool
	color    bool // on out
	errColor bool
	live     bool // err is a terminal: lines may be overwritten
	shown    bool // a line that will be overwritten is on the screen
}

func newUI(in *os.File, out, err io.Writer) *ui { return &ui{in: in, out: out, err: err} }

// setup decides about colours and JSON.
func (u *ui) setup(json, plain bool) {
	u.json = json
	u.color = !plain && isTerminal(u.out)
	u.errColor = !plain && isTerminal(u.err)
	u.live = isTerminal(u.err) && !json
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// print writes a result.
func (u *ui) print(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	fmt.Fprintf(u.out, format, args...)
}

// write writes a result that a function renders.
func (u *ui) write(render func(io.Writer) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	buffered := bufio.NewWriter(u.out)
	return errors.Join(render(buffered), buffered.Flush())
}

// object writes one JSON value on a line.
func (u *ui) object(v any) error {
	return u.write(func(w io.Writer) error { return view.WriteEvent(w, v) })
}

// note writes a line about the course of work; not with -json.
func (u *ui) note(format string, args ...any) {
	if u.json {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	fmt.Fprintf(u.err, format+"\n", args...)
}

// status shows a line that the next one overwrites; on terminals only.
func (u *ui) status(line string) {
	if !u.live {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if f, ok := u.err.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && len([]rune(line)) >= width && width > 1 {
			line = string([]rune(line)[:width-1])
		}
	}
	fmt.Fprint(u.err, "\r\x1b[K", line)
	u.shown = true
}

// erase removes the overwritable line. The caller holds the mutex.
func (u *ui) erase() {
	if u.shown {
		fmt.Fprint(u.err, "\r\x1b[K")
		u.shown = false
	}
}

// finish leaves the terminal in order.
func (u *ui) finish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
}

// interrupted answers the first signal.
func (u *ui) interrupted() {
	u.note("%s", view.Paint(u.errColor, "1;33", "Interrupted: nothing new is begun, and what is under way is finished and recorded. Once more ends at once."))
}

// fail prints an error, or each of several joined ones.
func (u *ui) fail(err error) {
	var diags config.Diagnostics
	var turn *turnError
	switch {
	case errors.Is(err, errPending), errors.Is(err, errShown), errors.As(err, &turn):
		return
	case errors.As(err, &diags):
		u.diagnostics(diags)
		return
	case errors.Is(err, errInterrupted) && !u.json:
		u.note("Interrupted. Run the command again to go on.")
		return
	}
	for _, one := range split(err) {
		u.failure(one)
	}
}

// split returns the errors that were joined without any words around them.
func split(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != joinedText(joined.Unwrap()) {
		return []error{err}
	}
	var list []error
	for _, one := range joined.Unwrap() {
		list = append(list, split(one)...)
	}
	return list
}

func joinedText(list []error) string {
	texts := make([]string, len(list))
	for i, err := range list {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\n")
}

// errorLine is an error for programs.
type errorLine struct {
	Type  string `json:"type"`
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Exit  int    `json:"exit"`
}

func (u *ui) failure(err error) {
	next := hintOf(err)
	if u.json {
		// Standard output is all there is to report an error on; if it is gone, so
		// is the reader.
		_ = u.object(errorLine{Type: "error", Error: err.Error(), Hint: next, Exit: exitCode(err)})
		return
	}
	u.box("1;31", "Error", err.Error(), next)
}

// hintOf returns what to do next about an error.
func hintOf(err error) string {
	var e providers.Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

// hint gives an error a next step.
func hint(err error, next string) error { return &providers.Fault{Err: err, Next: next} }

// box prints a text of any origin behind a bar, and what to do next below it.
func (u *ui) box(color, label, text, next string) {
	paint := func(s string) string { return view.Paint(u.errColor, color, s) }
	var b strings.Builder
	b.WriteString(paint("╷") + "\n" + paint("│ ") + paint(label+": "))
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if i > 0 {
			b.WriteString(paint("│ "))
		}
		b.WriteString(view.Clean(line) + "\n")
	}
	if next != "" {
		b.WriteString(paint("│") + "\n")
		for _, line := range strings.Split(next, "\n") {
			b.WriteString(paint("│ ") + view.Clean(line) + "\n")
		}
	}
	b.WriteString(paint("╵") + "\n")
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	fmt.Fprint(u.err, b.String())
}

// ask asks a question that only the word yes answers. Where nobody can answer it
// is an error.
func (u *ui) ask(question string) (bool, error) {
	if u.json || u.in == nil || !term.IsTerminal(int(u.in.Fd())) {
		return false, hint(errors.New("approving the plan: standard input is not a terminal, so nobody can be asked"),
			"Make a plan file and apply it (mailmove plan -out=FILE, mailmove apply FILE), or give -auto-approve.")
	}
	u.note("\n%s\n  Only \"yes\" is taken for an answer.", view.Paint(u.errColor, "1", question))
	u.mu.Lock()
	fmt.Fprint(u.err, "  > ")
	u.mu.Unlock()
	line, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line) == "yes", nil
}

// diagnosticLine is a diagnostic for programs.
type diagnosticLine struct {
	Type string `json:"type"`
	config.Diagnostic
}

// diagnostics prints what is wrong with a configuration.
func (u *ui) diagnostics(diags config.Diagnostics) {
	if u.json {
		for _, d := range diags {
			// Standard output is all there is to report on; if it is gone, so is the reader.
			_ = u.object(diagnosticLine{Type: "diagnostic", Diagnostic: d})
		}
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	width := 0
	if f, ok := u.err.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = columns
		}
	}
	_ = diags.WriteTo(u.err, u.errColor, width)
}
