package postfix_dovecot

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A script is store.sh with a state directory of its own.
type script struct {
	t          *testing.T
	state, bin string
	env        []string
	attr       *syscall.SysProcAttr
	stdin      string
	// errors is what the last command wrote to standard error.
	errors string
}

func newScript(t *testing.T) *script {
	s := &script{t: t, state: t.TempDir(), bin: t.TempDir()}
	s.env = []string{"PATH=" + s.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "MAILMOVE_STATE=" + s.state}
	return s
}

// standIn puts a program before the machine's own.
func (s *script) standIn(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// asNobody runs the script as somebody whom permissions bind.
func (s *script) asNobody() *script {
	if os.Geteuid() == 0 {
		s.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return s
}

// own gives a tree to who runs the script.
func (s *script) own(tree string) {
	s.t.Helper()
	if s.attr == nil {
		return
	}
	// What tests make is for their user alone, from the top on.
	for dir := filepath.Dir(tree); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", "65534:65534", tree).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

func (s *script) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", storeScript, "store.sh"}, args...)...)
	cmd.Env, cmd.SysProcAttr, cmd.Dir = s.env, s.attr, "/"
	cmd.Stdin = strings.NewReader(s.stdin)
	return cmd
}

// want runs a command, which must end with a status, and returns what it printed.
func (s *script) want(status int, args ...string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	s.errors = errs.String()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	if got != status {
		s.t.Fatalf("store.sh %q ended with status %d, want %d:\n%s", args, got, status, s.errors)
	}
	return out.String()
}

// file writes a file and the directories on the way.
func file(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
