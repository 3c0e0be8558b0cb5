package postfix_dovecot

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// dsync carries mail by doveadm backup, and the Sieve scripts, which it leaves
// out, by rsync. A peer's store that was ever used with another content is emptied
// by it and the command fails (exit status 65 or 75), so any status but 0
// is an error.
func (p *pass) dsync(ctx context.Context) (mail.Pass, error) {
	here, err := p.from.look(ctx)
	if err != nil {
		return mail.Pass{}, err
	}
	there, err := p.to.look(ctx)
	if err != nil {
		return mail.Pass{}, err
	}
	server, err := p.to.runner.Stream(ctx, p.to.storeCommand("receive by dsync", nil, "replica", p.id, p.target.home, there.login(p.account)))
	if err != nil {
		return mail.Pass{}, err
	}
	client, err := p.from.runner.Stream(ctx, p.from.storeCommand("send by dsync", nil,
		"backup", here.login(p.account), p.there, p.identity, p.source.home, p.source.root, p.source.format))
	if err != nil {
		return mail.Pass{}, errors.Join(err, server.Close())
	}
	// How the two programs ended tells whether all is there; which of them hung up
	// first, and whether the other noticed, does not.
	bridged := remote.Bridge(client, server)
	if err := client.Wait(); err != nil {
		return mail.Pass{}, fmt.Errorf("copying %s by dsync: %w", p.account, p.from.storeError(err, ""))
	}
	if err := server.Wait(); err != nil {
		return mail.Pass{}, fmt.Errorf("copying %s by dsync: %w", p.account, errors.Join(p.to.storeError(err, ""), bridged))
	}
	if _, err := p.rsync(ctx, "", p.source.scripts); err != nil {
		return mail.Pass{}, err
	}
	said, err := p.from.store(ctx, "count messages", nil, "count", here.login(p.account))
	if err != nil {
		return mail.Pass{}, err
	}
	return parsePass(said + " 0")
}
