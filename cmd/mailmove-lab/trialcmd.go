package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/audit"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/trial"
)

func trialCommand() *cli.Command {
	flags := append(append(append(optionFlags(), seedFlags()...), trafficFlags()...), usersFlags()...)
	flags = append(flags,
		&cli.StringFlag{Name: "recipe", Value: "live", Usage: "the recipe that mailmove moves the domain with: its name, or the directory of one's own"},
		&cli.StringFlag{Name: "script", Usage: "move the domain with this script, run on the operator's host, instead of mailmove"},
		&cli.BoolFlag{Name: "kill", Usage: "kill mailmove at random instants, and run it again"},
		&cli.BoolFlag{Name: "rollback", Usage: "go back after the move"},
		&cli.DurationFlag{Name: "before", Value: 5 * time.Second, Usage: "traffic before the move"},
		&cli.DurationFlag{Name: "between", Value: 10 * time.Second, Usage: "traffic between the move and the way back"},
		&cli.DurationFlag{Name: "after", Value: 10 * time.Second, Usage: "traffic after the move"},
		&cli.BoolFlag{Name: "keep", Usage: "leave the lab up"},
		&cli.BoolFlag{Name: "quiet", Usage: "print the row only, unless there is a fault"},
		&cli.BoolFlag{Name: "json", Usage: "print the whole report as JSON instead of the row"},
	)
	return &cli.Command{
		Name: "trial", Usage: "move the domain under live traffic and audit the result", Flags: flags,
		Description: "Brings a lab up, seeds it, lets senders and users begin, moves the domain, audits, and takes the lab down. The status is 1 if there is any fault.",
		Action:      runTrial,
	}
}

func runTrial(ctx context.Context, cmd *cli.Command) error {
	var log io.Writer = os.Stderr
	var kept bytes.Buffer
	if cmd.Bool("quiet") {
		log = &kept
	}
	if cmd.String("script") != "" && cmd.Bool("kill") {
		return errors.New("a script cannot be killed and run again: leave out -kill or -script")
	}
	migration := migrationOf(cmd, log)
	result, err := trial.Run(ctx, cmd.String("name"), migration, trial.Options{
		Lab: options(cmd), Seed: seedOptions(cmd), Traffic: trafficOptions(cmd), Users: usersOptions(cmd),
		Rollback: cmd.Bool("rollback"), Before: cmd.Duration("before"), Between: cmd.Duration("between"), After: cmd.Duration("after"),
		Keep: cmd.Bool("keep"), Log: log,
	})
	if err != nil || len(result.Report.Faults) > 0 {
		os.Stderr.Write(kept.Bytes())
	}
	if result != nil {
		if err := printResult(result, migration, cmd.Bool("json")); err != nil {
			return err
		}
		if n := len(result.Report.Faults); n > 0 {
			return errors.Join(err, fmt.Errorf("%d faults", n))
		}
	}
	return err
}

func migrationOf(cmd *cli.Command, log io.Writer) trial.Migration {
	if file := cmd.String("script"); file != "" {
		return trial.Script{File: file, Log: log}
	}
	return &trial.Mailmove{Recipe: cmd.String("recipe"), Kill: cmd.Bool("kill"), Log: log}
}

func printResult(result *trial.Result, migration trial.Migration, asJSON bool) error {
	if asJSON {
		return printReport(result.Report, true)
	}
	if len(result.Report.Faults) > 0 {
		if err := result.Report.Print(os.Stderr); err != nil {
			return err
		}
	}
	_, err := fmt.Println(row(result, migration))
	return err
}

// row is a trial in a line.
func row(result *trial.Result, migration trial.Migration) string {
	r := result.Report
	line := fmt.Sprintf("pairs %d, old %d, actions %d, %.0f s, logins %d p99 %.2f s max %.2f s, without login %.2f s, faults %d", r.Pairs, r.Old,
		r.Actions, result.Took.Seconds(), r.Logins, r.P99.Seconds(), r.Slowest.Seconds(), r.LongestWithoutLogin().Seconds(), len(r.Faults))
	if remarks, ok := migration.(fmt.Stringer); ok {
		line += ", " + remarks.String()
	}
	for _, kind := range audit.Kinds() {
		if n := r.Count(kind); n > 0 {
			line += fmt.Sprintf(", %s %d", kind, n)
		}
	}
	return line
}
