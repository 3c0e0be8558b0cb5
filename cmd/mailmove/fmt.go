package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/view"
)

// fmtOptions say what to do with a file that is not in the layout.
type fmtOptions struct{ check, diff, write, recursive bool }

// fmtCommand brings configuration files into the one layout.
func (a *app) fmtCommand() *cli.Command {
	o := &fmtOptions{}
	return &cli.Command{
		Name:        "fmt",
		Usage:       "bring configuration files into the one layout",
		ArgsUsage:   "[FILE | FOLDER]...",
		Description: "Rewrites *.mm.hcl and *.mmvars.hcl files and prints the names of those it changed. \"-\" reads standard input and writes standard output.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "change nothing; exit with 2 if a file is not in the layout", Destination: &o.check},
			&cli.BoolFlag{Name: "diff", Usage: "show what changes", Destination: &o.diff},
			&cli.BoolFlag{Name: "write", Usage: "write the files", Value: true, Destination: &o.write},
			&cli.BoolFlag{Name: "recursive", Usage: "folders within folders too", Destination: &o.recursive},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			args := cmd.Args().Slice()
			if len(args) == 0 {
				args = []string{"."}
			}
			if len(args) == 1 && args[0] == "-" {
				return a.formatInput()
			}
			return a.formatAll(args, *o)
		},
	}
}

func (a *app) formatInput() error {
	src, err := io.ReadAll(a.ui.in)
	if err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	formatted, diags := config.Format("<stdin>", src)
	if diags.HasErrors() {
		return diags
	}
	a.ui.print("%s", formatted)
	return nil
}

func (a *app) formatAll(args []string, o fmtOptions) error {
	var changed, failed bool
	for _, arg := range args {
		files, err := sources(arg, o.recursive)
		if err != nil {
			return err
		}
		for _, file := range files {
			different, err := a.format(file, o)
			if diags := (config.Diagnostics)(nil); errors.As(err, &diags) {
				a.ui.diagnostics(diags)
				failed = true
				continue
			}
			if err != nil {
				return err
			}
			changed = changed || different
		}
	}
	switch {
	case failed:
		return errShown
	case changed && o.check:
		return errPending
	}
	return nil
}

// sources returns the configuration files that an argument names.
func sources(arg string, recursive bool) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, fmt.Errorf("formatting: %w", err)
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	var files []string
	err = filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != arg && (!recursive || strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case !entry.IsDir() && (strings.HasSuffix(path, ".mm.hcl") || strings.HasSuffix(path, ".mmvars.hcl")):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("formatting: %w", err)
	}
	return files, nil
}

// format formats one file, and reports whether it was in another layout.
func (a *app) format(file string, o fmtOptions) (bool, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("formatting: %w", err)
	}
	formatted, diags := config.Format(file, src)
	if diags.HasErrors() {
		return false, diags
	}
	if bytes.Equal(src, formatted) {
		return false, nil
	}
	a.ui.print("%s\n", view.Clean(file))
	if o.diff {
		a.ui.print("%s", lineDiff(string(src), string(formatted)))
	}
	if o.check || !o.write {
		return true, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return true, fmt.Errorf("formatting: %w", err)
	}
	if err := os.WriteFile(file, formatted, info.Mode().Perm()); err != nil {
		return true, fmt.Errorf("formatting: %w", err)
	}
	return true, nil
}

// lineDiff shows lines that differ. Formatting changes lines and rarely their
// number, so that a comparison line by line from both ends tells enough.
func lineDiff(before, after string) string {
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	var b strings.Builder
	if len(was) == len(is) {
		for i := range was {
			if was[i] != is[i] {
				fmt.Fprintf(&b, "%d\n- %s\n+ %s\n", i+1, view.Clean(was[i]), view.Clean(is[i]))
			}
		}
		return b.String()
	}
	start := 0
	for start < min(len(was), len(is)) && was[start] == is[start] {
		start++
	}
	end := 0
	for end < min(len(was), len(is))-start && was[len(was)-1-end] == is[len(is)-1-end] {
		end++
	}
	fmt.Fprintf(&b, "%d\n", start+1)
	for _, line := range was[start : len(was)-end] {
		b.WriteString("- " + view.Clean(line) + "\n")
	}
	for _, line := range is[start : len(is)-end] {
		b.WriteString("+ " + view.Clean(line) + "\n")
	}
	return b.String()
}
