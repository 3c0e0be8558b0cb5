package postfix_dovecot

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The scripts run in whatever sh(1) a server has.
func TestScriptsAreClean(t *testing.T) {
	t.Parallel()
	check, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed: left out is whether it finds anything in the scripts")
	}
	scripts, err := filepath.Glob("scripts/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("there are %d scripts, %v", len(scripts), err)
	}
	for _, script := range scripts {
		if out, err := exec.CommandContext(t.Context(), check, "-s", "sh", script).CombinedOutput(); err != nil {
			t.Errorf("shellcheck of %s: %v\n%s", script, err, out)
		}
	}
}
