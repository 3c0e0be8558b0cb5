package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v3"
)

// app is one run of the program.
type app struct {
	ui      *ui
	environ []string

	// Flags of all commands.
	dir     string
	noColor bool
	json    bool
}

func newApp(in *os.File, out, err io.Writer, environ []string) *app {
	return &app{ui: newUI(in, out, err), environ: environ}
}

// run carries out a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	cli.FlagStringer = flagHelp
	err := a.root().Run(ctx, args)
	a.ui.finish()
	if err != nil {
		a.ui.fail(err)
	}
	return exitCode(err)
}

// flagHelp shows a flag with one dash, as Terraform writes it; two work as well.
func flagHelp(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	names, usage := f.Names(), doc.GetUsage()
	value := ""
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		word, after, _ := strings.Cut(rest, "`")
		value, usage = "="+word, before+word+after
	}
	for i, name := range names {
		names[i] = "-" + name + value
	}
	if text := doc.GetValue(); doc.TakesValue() && text != "" && text != "0s" {
		usage += " (default: " + text + ")"
	}
	return strings.Join(names, ", ") + "\t" + usage
}

func (a *app) root() *cli.Command {
	root := &cli.Command{
		Name:  "mailmove",
		Usage: "move the mail of a domain from one server to another, and lose nothing",
		Description: `A configuration (*.mm.hcl) says what the world looks like now and after the move. "mailmove plan"
shows every change, wait and danger before anything happens; "mailmove apply" carries out exactly the
plan that was reviewed, over minutes or weeks, through crashes, and back again if need be.`,
		HideVersion:               true,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		EnableShellCompletion:     true,
		Suggest:                   true,
		Writer:                    a.ui.out,
		ErrWriter:                 a.ui.err,
		ExitErrHandler:            func(context.Context, *cli.Command, error) {},
		OnUsageError:              usageError,
		ConfigureShellCompletionCommand: func(c *cli.Command) {
			c.Hidden = false
			c.Usage = "print a completion script for bash, zsh, fish or PowerShell"
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "chdir", Usage: "work in this `folder`", Destination: &a.dir},
			&cli.BoolFlag{Name: "no-color", Usage: "no colours (so does the environment variable NO_COLOR)", Destination: &a.noColor},
		},
		Before: a.before,
		Commands: []*cli.Command{
			a.validateCommand(), a.fmtCommand(), a.planCommand(), a.showCommand(), a.applyCommand(), a.statusCommand(),
			a.approveCommand(), a.rollbackCommand(), a.outputCommand(), a.stateCommand(), a.graphCommand(),
			a.providersCommand(), a.demoCommand(), a.versionCommand(),
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if name := cmd.Args().First(); name != "" {
				return hint(fmt.Errorf("there is no command %q", name), "Run mailmove -h for the list of commands."+suggestion(cmd, name))
			}
			return cli.ShowRootCommandHelp(cmd)
		},
	}
	root.CustomRootCommandHelpTemplate = cli.RootCommandHelpTemplate + "\n" + exitTable
	for _, c := range root.Commands {
		describe(c)
	}
	return root
}

// describe sets what all commands have in common.
func describe(c *cli.Command) {
	c.OnUsageError = usageError
	c.HideHelpCommand = true
	for _, sub := range c.Commands {
		describe(sub)
	}
}

func suggestion(cmd *cli.Command, name string) string {
	if found := cli.SuggestCommand(cmd.Commands, name); found != "" {
		return fmt.Sprintf(" Did you mean %q?", found)
	}
	return ""
}

// before runs when the flags are known, before the command.
func (a *app) before(ctx context.Context, _ *cli.Command) (context.Context, error) {
	a.ui.setup(a.json, a.noColor || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb")
	if a.dir != "" {
		if err := os.Chdir(a.dir); err != nil {
			return ctx, fmt.Errorf("changing to the folder of -chdir: %w", err)
		}
	}
	return ctx, nil
}

// env returns a variable of the environment.
func (a *app) env(name string) string {
	value := ""
	for _, entry := range a.environ {
		if len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '=' {
			value = entry[len(name)+1:]
		}
	}
	return value
}

func usageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	return hint(err, fmt.Sprintf("Run %s -h for its flags.", cmd.FullName()))
}

// noArguments refuses arguments, which are most often flags with a slip in them.
func noArguments(cmd *cli.Command) error { return atMost(cmd, 0) }

func atMost(cmd *cli.Command, n int) error {
	if cmd.NArg() > n {
		return hint(fmt.Errorf("%s: unexpected argument %q", cmd.FullName(), cmd.Args().Get(n)), fmt.Sprintf("Run %s -h for its use. Flags are written -name=value.", cmd.FullName()))
	}
	return nil
}

func (a *app) jsonFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: usage, Destination: &a.json}
}
