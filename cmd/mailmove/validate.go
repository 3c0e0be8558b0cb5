package main

import (
	"context"

	"github.com/urfave/cli/v3"
)

func (a *app) validateCommand() *cli.Command {
	f := &projectFlags{}
	return &cli.Command{
		Name:        "validate",
		Usage:       "check the configuration, in every phase",
		Description: "Reads the configuration with its modules and variables and evaluates it in every phase. Connects to nothing.",
		Flags:       append(f.configFlags(), a.jsonFlag("print diagnostics as JSON, one a line")),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			if _, err := a.load(f); err != nil {
				return err
			}
			if a.json {
				return a.ui.object(map[string]any{"type": "valid", "valid": true})
			}
			a.ui.print("The configuration is valid.\n")
			return nil
		},
	}
}
