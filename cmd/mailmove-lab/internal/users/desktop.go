package users

import (
	"context"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// desktop keeps one connection, in IDLE on INBOX but while it does something, and connects again only when it is cut.
func (u *user) desktop(ctx, working context.Context) error {
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	var session *imapclient.Client
	var idle *imapclient.IdleCommand
	defer func() {
		if session != nil {
			session.Close()
		}
	}()
	for {
		if session == nil {
			var err error
			if session, idle, err = u.sitDown(ctx, life); err != nil {
				return err
			}
		}
		var cut <-chan struct{}
		if session != nil {
			cut = session.Closed()
		}
		select {
		case <-working.Done():
			return nil
		case <-cut:
			session.Close()
			session, idle = nil, nil
			continue
		case <-time.After(u.pause()):
		}
		if session == nil { // the login did not work: that was recorded, now again
			continue
		}
		alive, err := u.workOnce(session, &idle)
		if err != nil {
			return err
		}
		if !alive {
			session.Close()
			session, idle = nil, nil
		}
	}
}

func (u *user) pause() time.Duration {
	u.turn.Lock()
	defer u.turn.Unlock()
	return u.options.Act*3/4 + time.Duration(u.random.Int64N(int64(u.options.Act)/2+1))
}

// sitDown logs in and waits in INBOX. A nil session without an error means that it did not work.
func (u *user) sitDown(ctx, life context.Context) (*imapclient.Client, *imapclient.IdleCommand, error) {
	began := time.Now()
	session, err := u.at.IMAP(life, u.server, u.names[0], u.account.Password, nil)
	if err := u.recordLogin(ctx, "desktop", began, err); err != nil || session == nil {
		return nil, nil, err
	}
	idle, ok := idleInInbox(session)
	if !ok {
		session.Close()
		return nil, nil, nil
	}
	return session, idle, nil
}

// idleInInbox reports whether the session is in IDLE; if not, it is broken.
func idleInInbox(session *imapclient.Client) (*imapclient.IdleCommand, bool) {
	defer watch(session)()
	if _, err := session.Select("INBOX", nil).Wait(); err != nil {
		return nil, false
	}
	idle, err := session.Idle()
	return idle, err == nil
}

// watch cuts the session unless the returned function is called in time.
func watch(session *imapclient.Client) (stop func()) {
	timer := time.AfterFunc(patience, func() { session.Close() })
	return func() { timer.Stop() }
}

// workOnce leaves IDLE, does one thing and goes back. It reports whether the session is still good.
func (u *user) workOnce(session *imapclient.Client, idle **imapclient.IdleCommand) (alive bool, err error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	stop := watch(session)
	err = (*idle).Close()
	if err == nil {
		err = (*idle).Wait()
	}
	stop()
	if err != nil { // the connection is gone
		return false, nil
	}
	if err := u.act(session, "desktop"); err != nil {
		return false, err
	}
	next, ok := idleInInbox(session)
	*idle = next
	return ok, nil
}
