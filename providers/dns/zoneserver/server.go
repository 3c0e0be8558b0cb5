// Package zoneserver is an authoritative DNS server in memory, for mailmove demo
// and for tests: real UDP and TCP sockets on loopback, no root, no files.
//
// It serves queries with wildcards (RFC 4592) and negative answers (RFC 2308),
// dynamic updates with prerequisites, all or nothing (RFC 2136), zone transfers
// (RFC 5936) and transaction signatures (RFC 8945). Like BIND it refuses an update
// that adds an MX or SRV whose target in the zone has no address, and ignores a
// CNAME beside other records and the reverse. It knows no delegations and no
// DNSSEC.
//
//	server, err := zoneserver.Start(zoneserver.Config{
//		Zones: map[string]string{"example.com.": "@ 300 IN SOA ns1 hostmaster 1 3600 600 86400 300\n…"},
//		Keys:  map[string]string{"mailmove.": "c2VjcmV0c2VjcmV0c2VjcmV0"},
//	})
//	second, err := server.Secondary(2 * time.Second)
//
// A [Server.Secondary] serves what its primary held a while ago. [Faults] make a
// server behave as badly as real ones do.
package zoneserver

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

// Config of a [Server].
type Config struct {
	// Address to listen on, 127.0.0.1 and any port if empty.
	Address string
	// Zones are zone files by absolute name.
	Zones map[string]string
	// Keys are base64 secrets by key name, absolute and in lower case. With any,
	// updates and transfers must be signed by one of them; without, anybody may.
	Keys map[string]string
}

// Faults are what a test wants to go wrong.
type Faults struct {
	// LoseAnswer is how many updates are carried out without an answer.
	LoseAnswer int
	// LoseUpdate is how many updates are neither carried out nor answered.
	LoseUpdate int
	// Refuse answers every update with REFUSED.
	Refuse bool
	// Delay passes before each answer.
	Delay time.Duration
}

// A Server serves zones until it is closed.
type Server struct {
	keys      map[string]string
	address   string
	listeners []*miekg.Server

	mu          sync.Mutex
	zones       map[string]*zone
	faults      Faults
	secondaries []*Server
	// Of a secondary:
	primary *Server
	lag     time.Duration
	held    bool
	timers  []*time.Timer
}

// Start serves the zones until Close.
func Start(config Config) (*Server, error) {
	s := &Server{keys: config.Keys, zones: map[string]*zone{}}
	for name, text := range config.Zones {
		z, err := parseZone(miekg.CanonicalName(name), text)
		if err != nil {
			return nil, fmt.Errorf("reading the zone %s: %w", name, err)
		}
		s.zones[z.origin] = z
	}
	if err := s.listen(config.Address); err != nil {
		return nil, err
	}
	return s, nil
}

// Secondary starts a second server for the same zones, which takes over what the
// primary holds after lag. Closing the primary closes it.
func (s *Server) Secondary(lag time.Duration) (*Server, error) {
	second := &Server{keys: s.keys, primary: s, lag: lag}
	s.mu.Lock()
	defer s.mu.Unlock()
	second.zones = clone(s.zones)
	if err := second.listen(""); err != nil {
		return nil, err
	}
	s.secondaries = append(s.secondaries, second)
	return second, nil
}

// Address returns host:port of both the UDP and the TCP socket.
func (s *Server) Address() string { return s.address }

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Hold makes a secondary keep what it serves until Release.
func (s *Server) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

// Release makes a secondary take over what its primary holds, now and later.
func (s *Server) Release() {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	s.follow()
}

// follow takes over what the primary holds.
func (s *Server) follow() {
	s.primary.mu.Lock()
	zones := clone(s.primary.zones)
	s.primary.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		s.zones = zones
	}
}

// notify tells the secondaries of a change. s.mu is held.
func (s *Server) notify() {
	for _, second := range s.secondaries {
		timer := time.AfterFunc(second.lag, second.follow)
		second.mu.Lock()
		second.timers = append(second.timers, timer)
		second.mu.Unlock()
	}
}

// Close stops serving; it returns when no answer is under way any more.
func (s *Server) Close() error {
	s.mu.Lock()
	secondaries, timers := s.secondaries, s.timers
	s.secondaries, s.timers = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, timer := range timers {
		timer.Stop()
	}
	for _, second := range secondaries {
		errs = append(errs, second.Close())
	}
	for _, listener := range s.listeners {
		errs = append(errs, listener.Shutdown())
	}
	s.listeners = nil
	return errors.Join(errs...)
}

// listenAttempts bounds the search for a port that is free for both protocols.
const listenAttempts = 20

// listen opens a TCP and a UDP socket on the same port and serves them.
func (s *Server) listen(address string) error {
	if address == "" {
		address = "127.0.0.1:0"
	}
	var tcp net.Listener
	var udp net.PacketConn
	var err error
	for range listenAttempts {
		if tcp, err = net.Listen("tcp", address); err != nil {
			return fmt.Errorf("listening on %s: %w", address, err)
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			break
		}
		if closeErr := tcp.Close(); closeErr != nil || !strings.HasSuffix(address, ":0") {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	s.address = tcp.Addr().String()
	for _, listener := range []*miekg.Server{{Listener: tcp}, {PacketConn: udp}} {
		started := make(chan struct{})
		failed := make(chan error, 1)
		listener.Handler = miekg.HandlerFunc(s.serve)
		listener.TsigSecret = s.keys
		listener.MsgAcceptFunc = accept
		listener.NotifyStartedFunc = func() { close(started) }
		go func() { failed <- listener.ActivateAndServe() }()
		select {
		case <-started:
			s.listeners = append(s.listeners, listener)
		case err := <-failed:
			return fmt.Errorf("serving %s: %w", address, err)
		}
	}
	return nil
}

// accept takes queries and updates; the library's own choice refuses updates.
func accept(header miekg.Header) miekg.MsgAcceptAction {
	const response = 1 << 15
	if header.Bits&response != 0 {
		return miekg.MsgIgnore
	}
	switch int(header.Bits>>11) & 0xF {
	case miekg.OpcodeQuery, miekg.OpcodeUpdate:
		return miekg.MsgAccept
	}
	return miekg.MsgRejectNotImplemented
}

// serve answers one message.
func (s *Server) serve(w miekg.ResponseWriter, request *miekg.Msg) {
	s.mu.Lock()
	delay := s.faults.Delay
	s.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	if request.IsTsig() != nil && w.TsigStatus() != nil {
		s.refuseSignature(w, request)
		return
	}
	if request.Opcode == miekg.OpcodeQuery && len(request.Question) == 1 && request.Question[0].Qtype == miekg.TypeAXFR {
		s.transfer(w, request)
		return
	}
	reply := new(miekg.Msg)
	reply.SetReply(request)
	if len(request.Question) != 1 {
		reply.Rcode = miekg.RcodeFormatError
	} else if request.Opcode == miekg.OpcodeUpdate {
		if !s.update(request, reply) {
			_ = w.Close() // the asker sees a cut connection
			return
		}
	} else {
		s.query(request, reply, w.RemoteAddr().Network() == "udp")
	}
	sign(reply, request)
	// The asker is gone if this does not arrive; it asks again.
	_ = w.WriteMsg(reply)
}

// sign signs a reply with the key of the request, if that had one.
func sign(reply, request *miekg.Msg) {
	if tsig := request.IsTsig(); tsig != nil {
		reply.SetTsig(tsig.Hdr.Name, tsig.Algorithm, tsig.Fudge, time.Now().Unix())
	}
}

// refuseSignature answers a message whose signature is wrong: RFC 8945 section 5.2.
func (s *Server) refuseSignature(w miekg.ResponseWriter, request *miekg.Msg) {
	reply := new(miekg.Msg)
	reply.SetRcode(request, miekg.RcodeNotAuth)
	sign(reply, request)
	tsig := reply.IsTsig()
	switch status := w.TsigStatus(); {
	case errors.Is(status, miekg.ErrSecret):
		tsig.Error = miekg.RcodeBadKey
	case errors.Is(status, miekg.ErrTime):
		tsig.Error = miekg.RcodeBadTime
	default:
		tsig.Error = miekg.RcodeBadSig
	}
	// Such an answer is not signed itself; packing it here keeps the writer from
	// trying to.
	packed, err := reply.Pack()
	if err == nil {
		_, _ = w.Write(packed)
	}
}

// zoneOf returns the zone that holds name, or nil. s.mu is held.
func (s *Server) zoneOf(name string) *zone {
	for rest := name; ; {
		if z := s.zones[rest]; z != nil {
			return z
		}
		_, parent, ok := strings.Cut(rest, ".")
		if !ok || parent == "" {
			return nil
		}
		rest = parent
	}
}

// authorised reports whether a request may change or list a zone.
func (s *Server) authorised(request *miekg.Msg) bool {
	return len(s.keys) == 0 || request.IsTsig() != nil
}

// transfer answers an AXFR: RFC 5936 section 2.2.
func (s *Server) transfer(w miekg.ResponseWriter, request *miekg.Msg) {
	s.mu.Lock()
	z := s.zones[miekg.CanonicalName(request.Question[0].Name)]
	s.mu.Unlock()
	if z == nil || !s.authorised(request) || w.RemoteAddr().Network() == "udp" {
		reply := new(miekg.Msg)
		reply.SetRcode(request, miekg.RcodeRefused)
		sign(reply, request)
		_ = w.WriteMsg(reply)
		return
	}
	soa := z.sets[setKey{z.origin, miekg.TypeSOA}]
	records := append([]miekg.RR{soa[0]}, z.withoutSOA()...)
	channel := make(chan *miekg.Envelope, 1)
	channel <- &miekg.Envelope{RR: append(records, soa[0])}
	close(channel)
	transfer := miekg.Transfer{TsigSecret: s.keys}
	_ = transfer.Out(w, request, channel)
}
