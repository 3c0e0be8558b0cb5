package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptSSHD starts a real sshd on loopback: sshd. It lets root and clerk in with
// the key in $WORK/operator; clerk may not use sudo. $WORK/known_hosts knows it. The
// variable ssh_port becomes its port.
func scriptSSHD(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: sshd")
	}
	dir := ts.MkAbs("sshd")
	ts.Check(os.MkdirAll(dir, 0o755))
	port := freePort(ts)
	run := func(script string) {
		cmd := exec.Command("/bin/sh", "-ec", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			ts.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	run(`p=$PWD; while [ "$p" != / ]; do chmod a+x "$p"; p=${p%/*}; [ -n "$p" ] || p=/; done
		mkdir -p /run/sshd home; chown 61999:61999 home
		ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f ../operator; cp ../operator.pub authorized_keys; chmod 644 authorized_keys
		(cat /etc/passwd; echo "clerk:x:61999:61999::$PWD/home:/bin/sh") >passwd; (cat /etc/group; echo clerk:x:61999:) >group
		(cat /etc/shadow; echo 'clerk:*:19000:0:99999:7:::') >shadow; chmod 600 shadow; printf 'root ALL=(ALL) ALL\n' >sudoers; chmod 440 sudoers`)
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nPidFile none\nUsePAM no\nStrictModes no\nHostKey %[2]s/host\nAuthorizedKeysFile %[2]s/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", port, dir)
	ts.Check(os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600))
	know(ts, filepath.Join(dir, "host.pub"), port)
	cmd := exec.Command("unshare", "-m", "/bin/sh", "-ec",
		`cd "$1"; for f in passwd group shadow sudoers; do mount --bind $f /etc/$f; done; exec /usr/sbin/sshd -D -e -f "$1/config"`, "sshd", dir)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ts.Setenv("MAILMOVE_VAR_ssh_port", strconv.Itoa(port))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("sshd does not listen: %v", err)
		}
	}
}

// another-host-key FILE makes the operator know another key of the server.
func scriptAnotherHostKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: another-host-key FILE")
	}
	port, err := strconv.Atoi(ts.Getenv("MAILMOVE_VAR_ssh_port"))
	ts.Check(err)
	know(ts, ts.MkAbs(args[0]), port)
}

// know writes the operator's known_hosts.
func know(ts *testscript.TestScript, file string, port int) {
	key, err := os.ReadFile(file)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("known_hosts"), fmt.Appendf(nil, "[127.0.0.1]:%d %s", port, key), 0o600))
}

func freePort(ts *testscript.TestScript) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// canSSHD reports whether a script may start an sshd, installing it if need be.
func canSSHD() (bool, error) {
	if os.Geteuid() != 0 {
		return false, nil
	}
	for file, pkg := range map[string]string{"/usr/sbin/sshd": "openssh-server", "/usr/bin/ssh-keygen": "openssh-client", "/usr/bin/sudo": "sudo"} {
		if _, err := os.Stat(file); err == nil {
			continue
		}
		cmd := exec.Command("/bin/sh", "-c", `
			[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d; }
			apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q "$1"`, "sh", pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return false, fmt.Errorf("installing %s: %w: %s", pkg, err, strings.TrimSpace(string(out)))
		}
	}
	return true, nil
}
