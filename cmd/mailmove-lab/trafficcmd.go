package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/audit"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

func trafficFlags() []cli.Flag {
	return []cli.Flag{
		&cli.FloatFlag{Name: "rate-normal", Value: 4, Usage: "messages a second from the sender that obeys TTLs"},
		&cli.FloatFlag{Name: "rate-stale", Value: 2, Usage: "messages a second from the one that does not"},
		&cli.FloatFlag{Name: "rate-users", Value: 0.5, Usage: "messages a second that users submit to each other"},
		&cli.DurationFlag{Name: "life", Value: 3 * time.Minute, Usage: "how long senders go on trying after the last message was written"},
	}
}

func trafficOptions(cmd *cli.Command) traffic.Options {
	return traffic.Options{RateNormal: cmd.Float("rate-normal"), RateStale: cmd.Float("rate-stale"), RateUsers: cmd.Float("rate-users"),
		Life: cmd.Duration("life")}
}

func trafficCommand() *cli.Command {
	return &cli.Command{
		Name: "traffic", Usage: "let outside senders and users write",
		Flags: append(trafficFlags(), &cli.DurationFlag{Name: "duration", Value: time.Minute, Usage: "for how long"}),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			options := trafficOptions(cmd)
			options.Duration = cmd.Duration("duration")
			return traffic.Run(ctx, l, options, nil)
		},
	}
}

func usersFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "act", Value: 3 * time.Second, Usage: "between two actions of a client"},
		&cli.DurationFlag{Name: "probe", Value: time.Second, Usage: "between two logins of an account's probe"},
	}
}

func usersOptions(cmd *cli.Command) users.Options {
	return users.Options{Act: cmd.Duration("act"), Probe: cmd.Duration("probe")}
}

func usersCommand() *cli.Command {
	return &cli.Command{
		Name: "users", Usage: "let users work, and log in to every account over and over",
		Flags: append(usersFlags(), &cli.DurationFlag{Name: "duration", Value: time.Minute, Usage: "for how long"}),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			options := usersOptions(cmd)
			options.Duration = cmd.Duration("duration")
			return users.Run(ctx, l, options, nil)
		},
	}
}

func auditCommand() *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "tell whether anything was lost, doubled or altered",
		Description: "First -snapshot, before the move. Afterwards, when traffic and users have stopped, without it: the status is 1 if there is any fault.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "snapshot", Usage: "record what there is now, to compare with later"},
			&cli.StringFlag{Name: "home", Value: "new", Usage: "the server on which everything must be: old or new"},
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			if cmd.Bool("snapshot") {
				return audit.Snapshot(ctx, l)
			}
			report, err := audit.Run(ctx, l, cmd.String("home"))
			if err != nil {
				return err
			}
			if err := printReport(report, cmd.Bool("json")); err != nil {
				return err
			}
			if n := len(report.Faults); n > 0 {
				return fmt.Errorf("%d faults", n)
			}
			return nil
		},
	}
}

func printReport(report *audit.Report, asJSON bool) error {
	if !asJSON {
		return report.Print(os.Stdout)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "\t")
	return encoder.Encode(report)
}
