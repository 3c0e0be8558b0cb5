package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/image"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
)

// optionFlags are the flags that say what kind of lab is wanted.
func optionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "spf", Value: "mark", Usage: "what the new server does with mail that fails SPF: mark or reject"},
		&cli.DurationFlag{Name: "ttl", Value: time.Hour, Usage: "TTL of the moving domain's records"},
		&cli.BoolFlag{Name: "spf-both", Usage: "the domain's SPF record names the new server already"},
		&cli.StringFlag{Name: "users", Value: lab.Virtual, Usage: "the users of the old server: virtual (a passwd-file of Dovecot) or system (/etc/passwd)"},
		&cli.StringFlag{Name: "users-new", Value: lab.Virtual, Usage: "the users of the new server: virtual or system"},
		&cli.StringFlag{Name: "mailmove", Usage: "install this mailmove program on the operator's host"},
		&cli.StringFlag{Name: "image-dir", Value: image.DefaultDir, Usage: "where the hosts' image is kept"},
	}
}

func options(cmd *cli.Command) lab.Options {
	return lab.Options{
		SPF: cmd.String("spf"), TTL: cmd.Duration("ttl"), SPFBoth: cmd.Bool("spf-both"),
		Users: cmd.String("users"), NewUsers: cmd.String("users-new"),
		Mailmove: cmd.String("mailmove"), ImageDir: cmd.String("image-dir"),
		Progress: func(what string) { fmt.Fprintln(os.Stderr, what) },
	}
}

func upCommand() *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "start the lab", Flags: optionFlags(),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			began := time.Now()
			l, err := lab.Up(ctx, cmd.String("name"), options(cmd))
			if err != nil {
				return err
			}
			fmt.Printf("lab %s is up after %.1f s:", l.Name, time.Since(began).Seconds())
			for _, name := range lab.HostNames() {
				fmt.Printf(" %s %s", name, lab.Address(name))
			}
			fmt.Println()
			return nil
		},
	}
}

func downCommand() *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "end the lab and remove everything of it",
		Action: func(ctx context.Context, cmd *cli.Command) error { return lab.Down(ctx, cmd.String("name")) },
	}
}

func execCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Usage: "run a command on a host, as root", ArgsUsage: "HOST COMMAND [ARGUMENT...]",
		Description:     "HOST is one of " + strings.Join(lab.HostNames(), ", ") + ". The command's status is this program's.",
		SkipFlagParsing: true,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			args := cmd.Args().Slice()
			if len(args) < 2 {
				return errors.New("exec needs a host and a command")
			}
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			host, err := l.Host(args[0])
			if err != nil {
				return err
			}
			inside, err := host.Command(ctx, args[1:]...)
			if err != nil {
				return err
			}
			inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
			err = inside.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exitStatus(exit.ExitCode())
			}
			return err
		},
	}
}

func rebootCommand() *cli.Command {
	return &cli.Command{
		Name: "reboot", Usage: "cut a host's power and start it again on the same disk", ArgsUsage: "HOST",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			return l.Reboot(ctx, cmd.Args().First())
		},
	}
}

func installCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Usage: "put a mailmove program on the operator's host", ArgsUsage: "PROGRAM",
		Action: func(_ context.Context, cmd *cli.Command) error {
			l, err := lab.Open(cmd.String("name"))
			if err != nil {
				return err
			}
			return l.Install(cmd.Args().First())
		},
	}
}
