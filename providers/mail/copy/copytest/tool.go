package copytest

import (
	"os/exec"
	"testing"
)

// A Tool runs programs of Debian's packages that are not installed, such as another copier to compare with. It sees the
// servers on 127.0.0.1, and a directory of the test as /srv.
type Tool struct {
	Dir string // what is /srv to the programs

	chamber chamber
}

// NewTool unpacks packages, as is done for servers. It is gone after the test.
func NewTool(t testing.TB, packages ...string) *Tool {
	t.Helper()
	tree := needTree(t, packages[0], append(packages, "coreutils")...)
	tool := &Tool{chamber: chamber{dir: t.TempDir(), tree: tree}}
	tool.Dir = tool.chamber.srv()
	t.Cleanup(tool.chamber.kill)
	if err := tool.chamber.start(map[string]string{"etc/passwd": "root:x:0:0::/srv:/bin/sh\n", "etc/group": "root:x:0:\n"}, "/bin/sleep", "infinity"); err != nil {
		t.Fatalf("preparing %s: %v", packages[0], err)
	}
	return tool
}

// Cmd returns a command that runs one of the programs, as root.
func (tool *Tool) Cmd(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	cmd, err := tool.chamber.command(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}
