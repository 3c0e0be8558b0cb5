package trial

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
)

// A Script is a migration by a program of the user's, run on the operator's host with the argument "forward" or "back".
type Script struct {
	File string
	Log  io.Writer // what it prints
}

var _ Migration = Script{}

// Forward runs the script.
func (s Script) Forward(ctx context.Context, l *lab.Lab) error { return s.run(ctx, l, "forward") }

// Back runs the script the other way.
func (s Script) Back(ctx context.Context, l *lab.Lab) error { return s.run(ctx, l, "back") }

// Finish has nothing to ask of a script.
func (s Script) Finish(context.Context, *lab.Lab) error { return nil }

func (s Script) run(ctx context.Context, l *lab.Lab, argument string) error {
	host, err := l.Host("op")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(s.File)
	if err != nil {
		return fmt.Errorf("reading script: %w", err)
	}
	const name = "/root/migration"
	path, err := host.Path(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, text, 0o700); err != nil {
		return fmt.Errorf("installing script: %w", err)
	}
	return runLogged(ctx, host, s.Log, name, argument)
}
