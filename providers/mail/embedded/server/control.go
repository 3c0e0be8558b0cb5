package server

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// The control interface: POST /CALL with a JSON object, a bearer token, and for
// what changes something the migration's lineage and epoch.

// Headers that carry the operator's epoch.
const (
	LineageHeader = "Mailmove-Lineage"
	EpochHeader   = "Mailmove-Epoch"
)

// Request is what a call is given; a call uses the fields it needs.
type Request struct {
	Op        string                      `json:"op,omitempty"`
	Domain    string                      `json:"domain,omitempty"`
	Addresses []mail.Address              `json:"addresses,omitempty"`
	On        bool                        `json:"on,omitempty"`
	Accounts  []Account                   `json:"accounts,omitempty"`
	Aliases   []mail.AliasEdit            `json:"aliases,omitempty"`
	Trust     mail.Trust                  `json:"trust,omitzero"`
	Routes    map[mail.Address]mail.Route `json:"routes,omitempty"`
	Logins    map[mail.Address]mail.Login `json:"logins,omitempty"`
	Peer      mail.Endpoint               `json:"peer,omitzero"`
	Within    time.Duration               `json:"within,omitempty"`
	Since     time.Time                   `json:"since,omitzero"`
	Content   bool                        `json:"content,omitempty"`
	Hashes    []string                    `json:"hashes,omitempty"`
	Bodies    map[string][]byte           `json:"bodies,omitempty"`
	Manifest  *Manifest                   `json:"manifest,omitempty"`
	Aside     string                      `json:"aside,omitempty"`
	Lineage   string                      `json:"lineage,omitempty"`
	Epoch     providers.Epoch             `json:"epoch,omitzero"`
}

// Account is an account with its hash, on the way from server to server.
type Account struct {
	Address mail.Address `json:"address"`
	Quota   int64        `json:"quota"`
	Hash    string       `json:"hash,omitempty"`
}

// Response is what a call returns.
type Response struct {
	OK         bool                        `json:"ok,omitempty"`
	Accounts   []Account                   `json:"accounts,omitempty"`
	Aliases    []mail.Alias                `json:"aliases,omitempty"`
	Trusts     []mail.Trust                `json:"trusts,omitempty"`
	Routes     map[mail.Address]mail.Route `json:"routes,omitempty"`
	Logins     map[mail.Address]mail.Login `json:"logins,omitempty"`
	State      mail.HandoffState           `json:"state,omitempty"`
	Stragglers []mail.Straggler            `json:"stragglers,omitempty"`
	Digests    map[mail.Address]Digest     `json:"digests,omitempty"`
	Manifest   *Manifest                   `json:"manifest,omitempty"`
	Bodies     map[string][]byte           `json:"bodies,omitempty"`
	Endpoint   *mail.Endpoint              `json:"endpoint,omitempty"`
	Failure    *failure                    `json:"failure,omitempty"`
}

// Kinds of failures that a client tells apart.
const (
	kindRefused  = "refused"
	kindConflict = "conflict"
	kindExpired  = "expired"
	kindStale    = "stale"
)

// failure is an error of a call: nothing was done.
type failure struct {
	Kind     string              `json:"kind"`
	Text     string              `json:"text"`
	Hint     string              `json:"hint,omitempty"`
	Conflict *mail.ConflictError `json:"conflict,omitempty"`
	Theirs   providers.Epoch     `json:"theirs,omitzero"`
}

func (f *failure) Error() string { return f.Text }

// Err returns the failure of a response as the error that the abilities promise,
// or nil.
func (r Response) Err(system string, ours providers.Epoch) error {
	f := r.Failure
	switch {
	case f == nil:
		return nil
	case f.Kind == kindConflict && f.Conflict != nil:
		return f.Conflict
	case f.Kind == kindExpired:
		return mail.ErrExpired
	case f.Kind == kindStale:
		return &providers.StaleError{System: system, Ours: ours, Theirs: f.Theirs}
	}
	return &mail.OutcomeError{Outcome: providers.NotApplied, Err: providers.Faultf(f.Hint, "%s", f.Text)}
}

// epoch is the epoch that a migration holds here.
type epoch = providers.Epoch

// call is one call; fenced ones change something.
type call struct {
	fenced bool
	do     func(*Server, context.Context, Request) (Response, error)
}

func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	for name, c := range calls() {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, c) })
	}
	return mux
}

// maxRequest bounds a request.
const maxRequest = 256 << 20

func (s *Server) answer(w http.ResponseWriter, r *http.Request, c call) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.options.Token)) != 1 {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	var in Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := s.call(r, c, in)
	var f *failure
	switch {
	case errors.As(err, &f):
		out = Response{Failure: f}
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		return // the client has gone, and asks again
	}
}

func (s *Server) call(r *http.Request, c call, in Request) (Response, error) {
	if c.fenced {
		s.mu.Lock()
		err := s.fence(r.Header)
		s.mu.Unlock()
		if err != nil {
			return Response{}, err
		}
	}
	return c.do(s, r.Context(), in)
}

// fence refuses an operator whom another has overtaken. s.mu is held.
func (s *Server) fence(h http.Header) error {
	held, ok := s.disk.epochs[h.Get(LineageHeader)]
	if !ok {
		return nil
	}
	number, err := strconv.ParseInt(h.Get(EpochHeader), 10, 64)
	if err != nil || number < held.Number {
		return &failure{Kind: kindStale, Text: "a later turn has been taken", Theirs: held}
	}
	return nil
}

// locked makes a call of what is done under the lock.
func locked(fenced bool, do func(*Server, Request) (Response, error)) call {
	return call{fenced, func(s *Server, _ context.Context, in Request) (Response, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down {
			return Response{}, errStopped
		}
		return do(s, in)
	}}
}

// hooked is locked for what writes to the hooks that a claim installs.
func hooked(do func(*Server, Request) (Response, error)) call {
	return locked(true, func(s *Server, in Request) (Response, error) {
		if err := s.needClaim(); err != nil {
			return Response{}, err
		}
		return do(s, in)
	})
}

func (s *Server) needClaim() error {
	if s.disk.claimed {
		return nil
	}
	return &failure{Kind: kindRefused, Text: s.options.Name + " is not claimed", Hint: "Declare a mail_claim of the server, and let the resource depend on it."}
}

func calls() map[string]call {
	return map[string]call{
		"endpoint": locked(false, func(s *Server, _ Request) (Response, error) { return Response{Endpoint: new(s.Endpoint())}, nil }),
		"claimed":  locked(false, func(s *Server, _ Request) (Response, error) { return Response{OK: s.disk.claimed}, nil }),
		"claim":    locked(true, (*Server).claim),
		"unclaim":  locked(true, (*Server).unclaim),
		"fence":    locked(false, (*Server).raise),

		"accounts":     locked(false, (*Server).listAccounts),
		"credentials":  locked(false, (*Server).credentials),
		"put-accounts": locked(true, (*Server).putAccounts),
		"aliases":      locked(false, (*Server).listAliases),
		"put-aliases":  locked(true, (*Server).putAliases),
		"accepts": locked(false, func(s *Server, in Request) (Response, error) {
			return Response{OK: s.disk.domains[in.Domain]}, nil
		}),
		"put-domain": locked(true, func(s *Server, in Request) (Response, error) {
			if in.On {
				s.disk.domains[in.Domain] = true
			} else {
				delete(s.disk.domains, in.Domain)
			}
			return Response{}, nil
		}),
		"trusts":    locked(false, (*Server).listTrusts),
		"put-trust": hooked((*Server).putTrust),

		"routes": locked(false, func(s *Server, in Request) (Response, error) {
			out := Response{Routes: map[mail.Address]mail.Route{}}
			for _, a := range in.Addresses {
				out.Routes[a] = s.route(a)
			}
			return out, nil
		}),
		"set-routes": {true, func(s *Server, ctx context.Context, in Request) (Response, error) {
			if err := s.checkRoutes(in.Routes); err != nil {
				return Response{}, err
			}
			return Response{}, s.setRoutes(ctx, in.Routes)
		}},
		"logins": locked(false, func(s *Server, in Request) (Response, error) {
			out := Response{Logins: map[mail.Address]mail.Login{}}
			for _, a := range in.Addresses {
				out.Logins[a] = s.mode(a)
			}
			return out, nil
		}),
		"set-logins": hooked(func(s *Server, in Request) (Response, error) {
			s.setLogins(in.Logins)
			return Response{}, nil
		}),

		"arm": hooked(func(s *Server, in Request) (Response, error) {
			return Response{}, s.arm(in.Op, in.Addresses[0], in.Peer, in.Within)
		}),
		"commit": locked(true, func(s *Server, in Request) (Response, error) {
			err := s.commit(in.Op)
			if errors.Is(err, mail.ErrExpired) {
				err = &failure{Kind: kindExpired, Text: err.Error()}
			}
			return Response{}, err
		}),
		"handoff": locked(false, func(s *Server, in Request) (Response, error) {
			s.expire()
			if h := s.disk.handoffs[in.Op]; h != nil {
				return Response{State: h.state}, nil
			}
			return Response{State: mail.NeverArmed}, nil
		}),
		"disarm": locked(true, func(s *Server, in Request) (Response, error) {
			s.disarm(in.Op)
			return Response{}, nil
		}),

		"digests":    locked(false, (*Server).digests),
		"manifest":   locked(false, (*Server).manifest),
		"bodies":     locked(false, (*Server).bodies),
		"replace":    locked(true, (*Server).replaceStore),
		"stragglers": locked(false, (*Server).stragglers),
	}
}

// checkRoutes refuses what cannot work.
func (s *Server) checkRoutes(routes map[mail.Address]mail.Route) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.needClaim(); err != nil {
		return err
	}
	for account, route := range routes {
		if route.Mode == mail.Relay && route.Peer.SMTP == 0 {
			return &failure{Kind: kindRefused, Text: fmt.Sprintf("relaying %s to %s: it is not known where that server listens", account, route.Peer.Address), Hint: "Check that the peer is running."}
		}
	}
	return nil
}
