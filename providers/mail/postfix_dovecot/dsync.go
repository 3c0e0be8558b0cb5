package postfix_dovecot

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// backupScript runs Dovecot's one-way replication; what it would run on the peer
// are the standard input and output of the script itself.
const backupScript = `
exec 3<&0 4>&1 </dev/null >&2
doveadm backup -u "$1" sh -c 'cat <&3 & cat >&4; kill $! 2>/dev/null; :'
`

// dsync carries mail by doveadm backup, and the Sieve scripts, which it leaves
// out, by rsync. A peer's store that was ever used with another content is emptied
// by it and the command fails (exit status 65 or 75), so any status but 0
// is an error.
func (s *System) dsync(ctx context.Context, peer *System, account mail.Address, source, target store) (mail.Pass, error) {
	here, err := s.look(ctx)
	if err != nil {
		return mail.Pass{}, err
	}
	there, err := peer.look(ctx)
	if err != nil {
		return mail.Pass{}, err
	}
	server, err := peer.runner.Stream(ctx, remote.Command{Name: "receive by dsync", Script: `exec doveadm dsync-server -u "$1"`, Args: []string{there.login(account)}})
	if err != nil {
		return mail.Pass{}, err
	}
	client, err := s.runner.Stream(ctx, remote.Command{Name: "send by dsync", Script: backupScript, Args: []string{here.login(account)}})
	if err != nil {
		return mail.Pass{}, errors.Join(err, server.Close())
	}
	bridged := remote.Bridge(client, server)
	if err := client.Wait(); err != nil {
		return mail.Pass{}, refusal(fmt.Errorf("copying %s by dsync: %w", account, err))
	}
	if bridged != nil {
		return mail.Pass{}, fmt.Errorf("copying %s by dsync: %w", account, bridged)
	}
	scripts := func(st store) store {
		st.items = st.items[1:]
		return st
	}
	if _, err := s.rsync(ctx, peer, scripts(source), scripts(target)); err != nil {
		return mail.Pass{}, err
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "count messages", Script: countScript, Args: []string{here.login(account)}})
	if err != nil {
		return mail.Pass{}, err
	}
	return parsePass(string(res.Stdout) + " 0")
}

// countScript prints messages and bytes of an account.
const countScript = `
doveadm -f tab mailbox status -u "$1" 'messages vsize' '*' | awk -F '\t' 'NR > 1 { n += $2; b += $3 } END { printf "%d %d", n, b }'
`
