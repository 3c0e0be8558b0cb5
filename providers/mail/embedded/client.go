package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// endpointTime bounds how long the server is asked where it listens.
const endpointTime = 5 * time.Second

// client makes calls of the control interface.
type client struct {
	url     *url.URL
	token   providers.Secret
	lineage string
	http    *http.Client
	epoch   *heldEpoch
}

// heldEpoch is the operator's epoch, which every change carries.
type heldEpoch struct {
	mu    sync.Mutex
	value providers.Epoch
}

func newClient(u *url.URL, token providers.Secret, lineage string) client {
	return client{
		url: u, token: token, lineage: lineage, epoch: &heldEpoch{},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}},
	}
}

func (c client) hold(epoch providers.Epoch) {
	c.epoch.mu.Lock()
	defer c.epoch.mu.Unlock()
	c.epoch.value = epoch
}

func (c client) held() providers.Epoch {
	c.epoch.mu.Lock()
	defer c.epoch.mu.Unlock()
	return c.epoch.value
}

// read makes a call that changes nothing on the server; an error tells nothing of
// an outcome.
func (c client) read(ctx context.Context, name string, in server.Request) (server.Response, error) {
	out, _, err := c.call(ctx, name, in)
	return out, err
}

// change makes a call that changes something. Where the server was not reached,
// the error says that nothing was done.
func (c client) change(ctx context.Context, name string, in server.Request) error {
	_, sent, err := c.call(ctx, name, in)
	if err != nil && !sent {
		return &mail.OutcomeError{Outcome: providers.NotApplied, Err: err}
	}
	return err
}

// call makes a call. sent says that the server may have got it.
func (c client) call(ctx context.Context, name string, in server.Request) (out server.Response, sent bool, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, false, err
	}
	token, err := c.token.Resolve(ctx)
	if err != nil {
		return out, false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url.JoinPath(name).String(), bytes.NewReader(body))
	if err != nil {
		return out, false, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	// Every call may be repeated: the transport may do so by itself where a kept
	// connection turns out to be closed, as after a restart of the server.
	req.Header.Set("Idempotency-Key", name)
	req.Header.Set(server.LineageHeader, c.lineage)
	req.Header.Set(server.EpochHeader, strconv.FormatInt(c.held().Number, 10))
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		reached := !errors.As(err, &op) || op.Op != "dial"
		return out, reached, c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what it says is all there is to report
		return out, resp.StatusCode >= 500, c.refused(resp.StatusCode, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, true, c.unreachable(err)
	}
	return out, true, out.Err(c.url.Host, c.held())
}

func (c client) unreachable(err error) error {
	var call *url.Error
	if errors.As(err, &call) {
		err = call.Err // without the call: a server that is down is one error, whatever was asked
	}
	return &providers.Fault{Err: fmt.Errorf("calling the embedded server %s: %w", c.url.Host, err), Retry: true,
		Next: "Check that the server is running and that address names its control interface."}
}

func (c client) refused(status int, text string) error {
	if status == http.StatusUnauthorized {
		return providers.Faultf("Check the provider's token.", "calling the embedded server %s: the token is wrong", c.url.Host)
	}
	return &providers.Fault{Err: fmt.Errorf("calling the embedded server %s: status %d: %s", c.url.Host, status, text), Retry: status >= 500,
		Next: "Run the command again."}
}
