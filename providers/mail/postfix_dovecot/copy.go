package postfix_dovecot

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/store.sh
var storeScript string

var _ mail.Copier = (*System)(nil)

// Methods implements [mail.Copier].
func (s *System) Methods(ctx context.Context, peer mail.Server) ([]mail.Method, error) {
	other, err := s.platform(peer)
	if err != nil {
		return nil, err
	}
	here, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	there, err := other.look(ctx)
	if err != nil {
		return nil, err
	}
	if here.separators() != there.separators() {
		return []mail.Method{mail.Dsync}, nil
	}
	location := find(here.dovecot, "mail_location")
	if st, err := here.store("login", "/home", location); err != nil || st.why != nil {
		return []mail.Method{mail.Dsync}, nil
	}
	if location != find(there.dovecot, "mail_location") {
		return []mail.Method{mail.Dsync}, nil
	}
	return []mail.Method{mail.Rsync, mail.Dsync}, nil
}

// separators tells how folders are named: where it differs, files are not the same
// folders.
func (l *layout) separators() string {
	var b strings.Builder
	for _, s := range l.dovecot {
		if s.name == "namespace" {
			fmt.Fprintf(&b, "%s %q %q %q;", s.text, s.value("prefix"), s.value("separator"), s.value("location"))
		}
	}
	return b.String()
}

func (s *System) platform(peer mail.Server) (*System, error) {
	other, ok := providers.As[*System](peer)
	if !ok {
		return nil, providers.Faultf("Use a recipe that copies over IMAP.", "copying from %s to a server of another platform (%s)", s.Platform(), peer.Platform())
	}
	return other, nil
}

// A pass is one pass over one account, between begin and end of store.sh on the
// server that is copied to.
type pass struct {
	id, secret     string
	account        mail.Address
	from, to       *System
	source, target store
	// there and identity are what begin printed.
	there, identity string
}

// Copy implements [mail.Copier]. What a pass wrote is on the peer's disk when it
// returns.
func (s *System) Copy(ctx context.Context, job mail.CopyJob, log providers.Log) (mail.Pass, error) {
	peer, err := s.platform(job.Peer)
	if err != nil {
		return mail.Pass{}, err
	}
	from, err := s.stores(ctx, []mail.Address{job.Account})
	if err != nil {
		return mail.Pass{}, err
	}
	to, err := peer.stores(ctx, []mail.Address{job.Account})
	if err != nil {
		return mail.Pass{}, err
	}
	p := &pass{id: rand.Text(), secret: rand.Text(), account: job.Account, from: s, to: peer, source: from[job.Account], target: to[job.Account]}
	if err := p.copyable(job.Method); err != nil {
		return mail.Pass{}, &mail.OutcomeError{Outcome: providers.NotApplied, Err: fmt.Errorf("copying %s: %w", job.Account, err)}
	}
	if err := p.begin(ctx, job.Method); err != nil {
		return mail.Pass{}, err
	}
	done, err := p.carry(ctx, job)
	if err == nil {
		_, err = peer.store(ctx, "make the copy durable", nil, append([]string{"end", p.id, p.target.home, p.target.root}, p.target.beside()...)...)
	}
	if err != nil {
		// What is not forgotten here is replaced by the next pass.
		_, forgetting := peer.store(context.WithoutCancel(ctx), "end the pass", nil, "forget", p.id, p.target.home)
		if stale, ok := errorAs[*providers.StaleError](forgetting); ok {
			err = errors.Join(stale, err) // why it broke
		}
		return mail.Pass{}, err
	}
	return done, nil
}

// copyable checks what can be known before anything is written.
func (p *pass) copyable(method mail.Method) error {
	alike := func(a, b []string) error {
		if strings.Join(a, "\n") != strings.Join(b, "\n") {
			return providers.Faultf("Make mail_location and the plugin setting sieve alike on both servers, or, where only the first differs, use method dsync.",
				"the stores on %v and %v are laid out differently: %q and %q", p.from.runner, p.to.runner, a, b)
		}
		return nil
	}
	switch method {
	case mail.Rsync:
		if err := errors.Join(p.source.why, p.target.why); err != nil {
			return err
		}
		return alike(p.source.items(), p.target.items())
	case mail.Dsync:
		return alike(p.source.scripts, p.target.scripts)
	}
	return fmt.Errorf("postfix_dovecot has no method %q", method)
}

func (p *pass) begin(ctx context.Context, method mail.Method) error {
	box := ""
	if method == mail.Rsync {
		box = p.target.box
	}
	args := append([]string{"begin", p.id, string(method), p.target.home, p.target.uid, p.target.gid, p.target.root, box}, p.target.scripts...)
	said, err := p.to.store(ctx, "begin to receive a store", []byte(p.secret), args...)
	if err != nil {
		return err
	}
	f := strings.Fields(said)
	if len(f) != 2 {
		return fmt.Errorf("copying %s to %v: unexpected answer %q", p.account, p.to.runner, said)
	}
	p.there, p.identity = f[0], f[1]
	return nil
}

func (p *pass) carry(ctx context.Context, job mail.CopyJob) (mail.Pass, error) {
	if job.Aside {
		mailItself := p.target.box
		if mailItself == "" {
			mailItself = p.target.root
		}
		args := append([]string{"aside", p.id, backupName(job.Op), p.target.home, mailItself}, p.target.beside()...)
		if _, err := p.to.store(ctx, "set the store aside", nil, args...); err != nil {
			return mail.Pass{}, err
		}
	}
	if job.Method == mail.Dsync {
		return p.dsync(ctx)
	}
	return p.rsync(ctx, p.source.box, p.source.items())
}

// Statuses of store.sh, beside staleStatus.
const (
	busyStatus   = 75
	goneStatus   = 78
	linkedStatus = 79
	diskStatus   = 80
)

// store runs a command of store.sh.
func (s *System) store(ctx context.Context, doing string, input []byte, args ...string) (string, error) {
	res, err := s.runner.Run(ctx, s.storeCommand(doing, input, args...))
	return strings.TrimSpace(string(res.Stdout)), s.storeError(err, string(res.Stdout))
}

// storeCommand is a command of store.sh by the operator who holds the turn.
func (s *System) storeCommand(doing string, input []byte, args ...string) remote.Command {
	if epoch := s.held(); epoch != nil {
		args = append([]string{"--epoch", s.env.Lineage, strconv.FormatInt(epoch.Number, 10)}, args...)
	}
	return remote.Command{Name: doing, Script: storeScript, Args: args, Stdin: input}
}

// storeError says what is to be done about an error of store.sh; said is what the
// command printed.
func (s *System) storeError(err error, said string) error {
	exit, ok := errorAs[*remote.ExitError](err)
	if !ok {
		return err
	}
	fault := func(retry bool, next string) error {
		return &mail.OutcomeError{Outcome: providers.Partial, Err: &providers.Fault{Err: err, Next: next, Retry: retry}}
	}
	switch exit.Status {
	case staleStatus:
		if epoch := s.held(); epoch != nil {
			return s.stale(*epoch, said)
		}
	case busyStatus:
		return fault(true, "Wait until the other one has ended, and run mailmove apply again.")
	case goneStatus:
		return fault(false, fmt.Sprintf("Nothing was removed from the copy. Look on %v whether the volume with the mail is mounted and whole, and run mailmove apply again. "+
			"If the store is meant to be as it is now, move its copy on the other server out of the way first.", s.runner))
	case linkedStatus:
		return fault(false, "Use method dsync, or replace the link by what it leads to.")
	case diskStatus:
		return fault(false, fmt.Sprintf("See the kernel's log on %v and mend the disk. Then move the copy of the account out of the way, and run mailmove apply again.", s.runner))
	}
	return refusal(err)
}
