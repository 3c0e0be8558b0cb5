package postfix_dovecot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A build that a killed operator left behind does not undo that of the next.
func TestBuildsDoNotCross(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(at(name+".part"), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at(name+".part"), at(name)); err != nil {
			t.Fatal(err)
		}
	}
	// The stand-in takes its time over the old text.
	write("postmap", `#!/bin/sh
source=${1#hash:}
text=$(cat "$source")
if [ "$text" = old ]; then
	: >"`+at("began")+`"
	while [ ! -e "`+at("go")+`" ]; do sleep 0.01; done
fi
printf '%s\n' "$text" >"$source.db"
`, 0o755)
	build := func() *exec.Cmd {
		cmd := exec.Command("sh", "-s", "build", "postmap", "hash", at("map"))
		cmd.Stdin = strings.NewReader(buildScript)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "MAILMOVE_STATE="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	write("map", "old\n", 0o644)
	first := build()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(at("began")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("waited a minute for the first build")
		}
	}
	write("map", "new\n", 0o644)
	second := build()
	ended := make(chan error, 1)
	go func() { ended <- second.Wait() }()
	select {
	case err := <-ended:
		t.Errorf("the second build did not wait for the first: %v", err)
		ended <- err
	case <-time.After(200 * time.Millisecond):
	}
	write("go", "", 0o644)
	if err := first.Wait(); err != nil {
		t.Error("the first build: ", err)
	}
	if err := <-ended; err != nil {
		t.Error("the second build: ", err)
	}
	if got, err := os.ReadFile(at("map.db")); err != nil || string(got) != "new\n" {
		t.Errorf("the map holds %q, %v; want the new text", got, err)
	}
}
