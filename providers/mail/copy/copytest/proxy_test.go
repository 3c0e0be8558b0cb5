package copytest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// peer listens and hands out its end of each connection.
func peer(t *testing.T) (address string, accepted <-chan net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	return listener.Addr().String(), conns
}

// joined returns both ends of a connection through a proxy.
func joined(t *testing.T, proxy *Proxy, accepted <-chan net.Conn) (client, server *net.TCPConn) {
	t.Helper()
	c, err := net.Dial("tcp", proxy.Address)
	if err != nil {
		t.Fatal(err)
	}
	s := <-accepted
	for _, conn := range []net.Conn{c, s} {
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestProxyCutsWhereItIsTold(t *testing.T) {
	address, accepted := peer(t)
	sent := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, side := range []Side{FromServer, FromClient} {
		for _, n := range []int64{0, 1, 17, 65_536, 199_999} {
			proxy := NewProxy(t, address)
			proxy.Cut(2, side, n)
			for k := 1; k <= 3; k++ {
				client, server := joined(t, proxy, accepted)
				from, to := server, client
				if side == FromClient {
					from, to = client, server
				}
				go func() {
					from.Write(sent) // one that is cut may end in an error
					from.CloseWrite()
				}()
				got, err := io.ReadAll(to)
				want := sent
				if k == 2 {
					want = sent[:n]
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("cut of connection 2 after %d octets of the %v: connection %d received %d octets (%v), want %d", n, side, k, len(got), err, len(want))
				}
				if count := proxy.Count(k, side); count != int64(len(want)) {
					t.Errorf("counted %d octets of the %v in connection %d, want %d", count, side, k, len(want))
				}
				if k == 2 {
					// The other end learns of it as well.
					if _, err := io.Copy(io.Discard, from); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("the side whose octets were cut does not see the end")
					}
				}
				from.Close()
				to.Close()
			}
			if got := proxy.Connections(); got != 3 {
				t.Errorf("%d connections, want 3", got)
			}
		}
	}
}

func TestProxyHalfCloses(t *testing.T) {
	address, accepted := peer(t)
	proxy := NewProxy(t, address)
	proxy.HalfClose(1, FromServer, 5)
	client, server := joined(t, proxy, accepted)
	write(t, server, "hello, world")
	if got, err := io.ReadAll(client); err != nil || string(got) != "hello" {
		t.Errorf("received %q (%v), want the first five octets and an end", got, err)
	}
	write(t, client, "still here")
	buffer := make([]byte, 10)
	if _, err := io.ReadFull(server, buffer); err != nil {
		t.Errorf("the other side does not go on: %v", err)
	}
}

func TestProxyStalls(t *testing.T) {
	address, accepted := peer(t)
	proxy := NewProxy(t, address)
	proxy.Stall(0, FromServer, 5)
	client, server := joined(t, proxy, accepted)
	write(t, server, "hello, world")
	buffer := make([]byte, 5)
	if _, err := io.ReadFull(client, buffer); err != nil || string(buffer) != "hello" {
		t.Fatalf("received %q (%v), want the first five octets", buffer, err)
	}
	client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := client.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("received %d more octets (%v), want silence", n, err)
	}
	write(t, client, "still here")
	if _, err := io.ReadFull(server, make([]byte, 10)); err != nil {
		t.Errorf("the other side does not go on: %v", err)
	}
	proxy.CutAll()
	client.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := client.Read(buffer); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after CutAll the connection ended with %v, want it lost", err)
	}
}

// A delay is that of a long way, not of a slow one: many octets and many messages are on it at once.
func TestProxyDelaysWithoutThrottling(t *testing.T) {
	address, accepted := peer(t)
	proxy := NewProxy(t, address)
	const each = 50 * time.Millisecond
	proxy.Delay(each)
	client, server := joined(t, proxy, accepted)
	go io.Copy(server, server)

	begin := time.Now()
	write(t, client, "x")
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*each {
		t.Errorf("a round trip took %v, want at least %v", took, 2*each)
	}
	// One after the other, these would take 200 round trips: 20 s.
	begin = time.Now()
	go func() {
		for range 200 {
			client.Write(make([]byte, 1000))
			time.Sleep(time.Millisecond / 10) // so that they are read one by one
		}
	}()
	if _, err := io.ReadFull(client, make([]byte, 200_000)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*each || took > 10*time.Second {
		t.Errorf("200 messages took %v, want about one round trip of %v", took, 2*each)
	}
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func TestProxyToAServerThatIsDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	proxy := NewProxy(t, listener.Addr().String())
	conn, err := net.Dial("tcp", proxy.Address)
	if err != nil {
		return // refused at once is as good
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading gave %v, want a lost connection", err)
	}
}

// BenchmarkProxy tells how much a proxy lets through, which bounds what a benchmark behind one can show.
func BenchmarkProxy(b *testing.B) {
	for _, each := range []time.Duration{0, 25 * time.Millisecond} {
		b.Run(each.String(), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			proxy := NewProxy(b, listener.Addr().String())
			proxy.Delay(each)
			client, err := net.Dial("tcp", proxy.Address)
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			server, err := listener.Accept()
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			piece := make([]byte, 1<<20)
			b.SetBytes(int64(len(piece)))
			b.ResetTimer()
			go func() {
				for range b.N {
					server.Write(piece) // one that is cut short makes the reader fail
				}
			}()
			if _, err := io.CopyN(io.Discard, client, int64(b.N)*int64(len(piece))); err != nil {
				b.Fatal(err)
			}
		})
	}
}
