package lab

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// tools are the programs of the machine itself that a lab needs, with the packages they come in. A Debian that was
// installed as usual has them; a container's may not.
var tools = [...]struct{ program, pkg string }{
	{"ip", "iproute2"}, {"nsenter", "util-linux"}, {"mount", "mount"}, {"mkfs.ext4", "e2fsprogs"},
}

// ensureTools installs what is missing of them. It is all that a lab ever changes on the machine.
func ensureTools(ctx context.Context, progress func(string)) error {
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool.program); err != nil {
			missing = append(missing, tool.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	progress("installing on this machine: " + strings.Join(missing, " "))
	for _, argv := range [][]string{{"update"}, slices.Concat([]string{"install", "-y", "--no-install-recommends"}, missing)} {
		cmd := exec.CommandContext(ctx, "apt-get", argv...)
		cmd.Env = append(cmd.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s: %w: %s", strings.Join(missing, " "), err, output)
		}
	}
	return nil
}
