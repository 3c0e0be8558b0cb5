package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine/view"
)

// stateCommand looks into the state.
func (a *app) stateCommand() *cli.Command {
	return &cli.Command{
		Name:     "state",
		Usage:    "look into the state",
		Commands: []*cli.Command{a.stateListCommand(), a.stateShowCommand(), a.statePullCommand()},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if name := cmd.Args().First(); name != "" {
				return hint(fmt.Errorf("there is no command %q of mailmove state", name), "Its commands are list, show and pull.")
			}
			return cli.ShowSubcommandHelp(cmd)
		},
	}
}

func (a *app) stateListCommand() *cli.Command {
	f := &projectFlags{}
	return &cli.Command{
		Name: "list", Usage: "list the recorded objects", ArgsUsage: "[ADDRESS-PREFIX]",
		Flags: append(f.configFlags(), f.stateFlag()),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			s, _, err := a.snapshot(f)
			if err != nil {
				return err
			}
			for _, address := range sortedKeys(s.Resources) {
				if strings.HasPrefix(address, cmd.Args().First()) {
					a.ui.print("%s\n", view.Clean(address))
				}
			}
			return nil
		},
	}
}

func (a *app) stateShowCommand() *cli.Command {
	f := &projectFlags{}
	return &cli.Command{
		Name: "show", Usage: "show what is recorded of an object", ArgsUsage: "ADDRESS",
		Flags: append(f.configFlags(), f.stateFlag()),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			s, path, err := a.snapshot(f)
			if err != nil {
				return err
			}
			address := cmd.Args().First()
			r, ok := s.Resources[address]
			if !ok {
				return hint(fmt.Errorf("%s records no object %q", path, address), "mailmove state list shows their addresses.")
			}
			data, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				return err
			}
			return a.ui.write(func(w io.Writer) error {
				out := &lines{w: w}
				for _, line := range bytes.Split(data, []byte("\n")) {
					out.add("%s", view.Clean(string(line)))
				}
				return out.err
			})
		},
	}
}

func (a *app) statePullCommand() *cli.Command {
	f := &projectFlags{}
	return &cli.Command{
		Name: "pull", Usage: "print the state as JSON, with its journal replayed",
		Flags: append(f.configFlags(), f.stateFlag()),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			s, _, err := a.snapshot(f)
			if err != nil {
				return err
			}
			return a.ui.object(s)
		},
	}
}
