package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/seed"
)

func seedFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "accounts", Value: 12, Usage: "how many accounts move"},
		&cli.IntFlag{Name: "messages", Value: 300, Usage: "how many messages each has"},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "the same number gives the same stores"},
	}
}

func seedOptions(cmd *cli.Command) seed.Options {
	return seed.Options{Accounts: cmd.Int("accounts"), Messages: cmd.Int("messages"), Seed: cmd.Uint64("seed")}
}

func seedCommand() *cli.Command {
	return &cli.Command{
		Name: "seed", Usage: "make accounts on the old server and fill them", Flags: seedFlags(),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			began := time.Now()
			if err := seed.Run(ctx, l, seedOptions(cmd)); err != nil {
				return err
			}
			fmt.Printf("seeded in %.1f s\n", time.Since(began).Seconds())
			return nil
		},
	}
}
