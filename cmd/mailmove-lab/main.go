// Command mailmove-lab is the test bench of mailmove: real mail servers, name servers, an operator and outside senders,
// each a host of its own on this machine, that a domain can be moved between while mail pours in and users work.
//
// It needs root on a Debian machine with overlayfs and network namespaces. The first `up` installs the hosts' packages
// with apt into an image below /var/cache/mailmove-lab (half a minute); after that a lab is up in seconds. Nothing else of
// the machine is changed, and the hosts' network is connected to nothing.
//
//	mailmove-lab up                          start the lab
//	mailmove-lab exec old postqueue -p       run a command on a host, as root
//	mailmove-lab reboot old                  cut a host's power and start it again
//	mailmove-lab install ./mailmove          put a mailmove program on the operator's host
//	mailmove-lab down                        end it; nothing is left
//
// A move by hand, judged:
//
//	mailmove-lab seed -accounts 12 -messages 300
//	mailmove-lab audit -snapshot
//	mailmove-lab traffic -duration 5m & mailmove-lab users -duration 5m &
//	mailmove-lab exec op …                   move example.com from old to new
//	wait; mailmove-lab audit -home new       exits with 1 if anything was lost, doubled or altered
//
// The same by itself, in a lab of its own that is gone afterwards, with one line as the result:
//
//	mailmove-lab trial -mailmove ./mailmove -ttl 10s -spf reject
//	mailmove-lab trial -mailmove ./mailmove -ttl 10s -kill
//	mailmove-lab trial -mailmove ./mailmove -ttl 10s -rollback
//	mailmove-lab trial -mailmove ./mailmove -ttl 10s -users system
//
// The servers keep virtual users, or, with -users system and -users-new system, those of /etc/passwd.
//
// Several labs may be up at once under different names (-name). Package internal/lab describes the hosts, internal/seed
// the stores, internal/traffic and internal/users who is at work, internal/audit what is demanded, internal/trial the order.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

func main() {
	// A host's first process is this program again.
	if len(os.Args) == 3 && os.Args[1] == machine.InitCommand {
		fmt.Fprintln(os.Stderr, "mailmove-lab: host:", machine.Init(os.Args[2]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command().Run(ctx, os.Args)
	var status exitStatus
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(int(status))
	default:
		fmt.Fprintln(os.Stderr, "mailmove-lab:", err)
		os.Exit(1)
	}
}

// An exitStatus is that of a command on a host, which has said itself what was wrong.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func command() *cli.Command {
	return &cli.Command{
		Name:        "mailmove-lab",
		Usage:       "real mail servers on this machine, to move a domain between",
		HideVersion: true,
		// main decides the status of the process, here nobody exits.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Flags:          []cli.Flag{&cli.StringFlag{Name: "name", Value: "lab", Usage: "which lab: 1 to 16 letters a-z and digits"}},
		Before: func(ctx context.Context, _ *cli.Command) (context.Context, error) {
			if os.Geteuid() != 0 {
				return ctx, errors.New("needs root: it makes namespaces and mounts")
			}
			return ctx, nil
		},
		Commands: []*cli.Command{upCommand(), downCommand(), execCommand(), rebootCommand(), installCommand(), seedCommand(), trafficCommand(), usersCommand(), auditCommand(), trialCommand()},
	}
}
