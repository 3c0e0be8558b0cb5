package trial

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

// runLogged runs argv on host, shows what it prints in log, and puts the end of it into the error.
func runLogged(ctx context.Context, host *machine.Host, log io.Writer, argv ...string) error {
	cmd, err := host.Command(ctx, argv...)
	if err != nil {
		return err
	}
	var last tail
	output := io.MultiWriter(log, &last)
	cmd.Stdout, cmd.Stderr = output, output // one writer: exec then uses one pipe and keeps the order
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %s on %s: %w\n%s", argv[0], host.Name, err, last.String())
	}
	return nil
}

// tail keeps the last of what is written to it, for an error message.
type tail struct{ text strings.Builder }

func (t *tail) Write(data []byte) (int, error) { return t.text.Write(data) }

func (t *tail) String() string {
	text := strings.TrimSpace(t.text.String())
	return text[max(0, len(text)-2000):]
}
