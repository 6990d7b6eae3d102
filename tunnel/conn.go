package tunnel

import (
	"io"
	"net"
	"os"
	"time"
)

// conn is one connection to the machine's port: the body of a request there, and that of its answer back.
type conn struct {
	send    *io.PipeWriter
	receive io.ReadCloser
	close   func()
}

func (c *conn) Read(p []byte) (int, error)  { return c.receive.Read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.send.Write(p) }

// CloseWrite ends what is sent, as that of a TCP connection does. What comes back goes on.
func (c *conn) CloseWrite() error { return c.send.Close() }

func (c *conn) Close() error {
	c.close()
	return c.receive.Close()
}

func (c *conn) LocalAddr() net.Addr  { return addr{} }
func (c *conn) RemoteAddr() net.Addr { return addr{} }

func (c *conn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *conn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// addr is where connections of a tunnel come from and go to.
type addr struct{}

func (addr) Network() string { return "tunnel" }
func (addr) String() string  { return machine }
