package sandbox

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
)

// network is how a machine reaches what is outside of it: over relays that can be cut. What is cut hangs, as where packets
// are lost, and goes on when it is mended.
type network struct {
	mu     sync.Mutex
	open   chan struct{} // closed while the network is whole
	closed bool
	ends   []io.Closer
}

func newNetwork() *network {
	n := &network{open: make(chan struct{})}
	close(n.open)
	return n
}

// cut lets nothing pass any more.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.open:
		n.open = make(chan struct{})
	default:
	}
}

// mend lets everything pass again.
func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.open:
	default:
		close(n.open)
	}
}

// close closes all connections for good.
func (n *network) close() {
	n.mend() // whatever waits sees that its connections are closed
	n.mu.Lock()
	ends := n.ends
	n.ends, n.closed = nil, true
	n.mu.Unlock()
	for _, end := range ends {
		end.Close()
	}
}

// keep closes something with the network. When it is closed already, that is at once.
func (n *network) keep(end io.Closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		end.Close()
		return net.ErrClosed
	}
	n.ends = append(n.ends, end)
	return nil
}

// wait waits until the network is whole.
func (n *network) wait() {
	n.mu.Lock()
	open := n.open
	n.mu.Unlock()
	<-open
}

// relay makes an address for the machine alone that leads to target, an http URL with a port.
func (n *network) relay(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if err := n.keep(listener); err != nil {
		return "", err
	}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go n.connect(in, u.Host)
		}
	}()
	return u.Scheme + "://" + listener.Addr().String(), nil
}

// connect carries one connection.
func (n *network) connect(in net.Conn, host string) {
	defer in.Close()
	if n.keep(in) != nil {
		return
	}
	n.wait()
	out, err := net.Dial("tcp", host)
	if err != nil {
		return
	}
	defer out.Close()
	if n.keep(out) != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { n.carry(out, in) })
	both.Go(func() { n.carry(in, out) })
	both.Wait()
}

// carry copies one direction while the network is whole.
func (n *network) carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		count, err := from.Read(buffer)
		n.wait()
		if _, failed := to.Write(buffer[:count]); failed != nil {
			from.Close()
			return
		}
		if err == nil {
			continue
		}
		if half, ok := to.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
			half.CloseWrite()
			return
		}
		to.Close()
		return
	}
}
