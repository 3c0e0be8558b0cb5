package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/engine/view"
)

// outputCommand shows the outputs as the last turn recorded them.
func (a *app) outputCommand() *cli.Command {
	f := &projectFlags{}
	var raw bool
	return &cli.Command{
		Name:      "output",
		Usage:     "show outputs, as the last turn recorded them",
		ArgsUsage: "[NAME]",
		Flags: append(f.configFlags(), f.stateFlag(),
			&cli.BoolFlag{Name: "raw", Usage: "print a string as it is, for scripts", Destination: &raw},
			a.jsonFlag("print them as JSON"),
		),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			s, _, err := a.snapshot(f)
			if err != nil {
				return err
			}
			if name := cmd.Args().First(); name != "" {
				return a.oneOutput(s.Outputs, name, raw)
			}
			if a.json {
				return a.ui.object(values(s.Outputs))
			}
			return a.ui.write(func(w io.Writer) error {
				out := &lines{w: w}
				for _, name := range sortedKeys(s.Outputs) {
					out.add("%s = %s", view.Clean(name), shownOutput(s.Outputs[name]))
				}
				return out.err
			})
		},
	}
}

// values are the outputs that may be shown.
func values(outputs map[string]state.Output) map[string]json.RawMessage {
	shown := map[string]json.RawMessage{}
	for name, o := range outputs {
		if !o.Sensitive {
			shown[name] = o.Value
		}
	}
	return shown
}

func (a *app) oneOutput(outputs map[string]state.Output, name string, raw bool) error {
	o, ok := outputs[name]
	if !ok {
		return hint(fmt.Errorf("there is no output %q", name), "Outputs: "+strings.Join(sortedKeys(outputs), ", ")+". They are recorded by mailmove apply.")
	}
	if o.Sensitive {
		return hint(fmt.Errorf("output %q is sensitive, so the state does not hold it", name), "Look for it where it comes from.")
	}
	if !raw {
		a.ui.print("%s\n", o.Value)
		return nil
	}
	var text *string
	if err := json.Unmarshal(o.Value, &text); err != nil || text == nil {
		return hint(fmt.Errorf("output %q is not a string", name), "Use -json instead of -raw.")
	}
	a.ui.print("%s", *text)
	return nil
}

// shownOutput is a value on a line. JSON escapes controls; the rest is cleaned.
func shownOutput(o state.Output) string {
	if o.Sensitive {
		return "(sensitive)"
	}
	return view.Clean(string(o.Value))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
