package tunnel

import "io"

// Buffers of Copy: one is small while a connection is quiet, and grows while much comes.
const smallBuffer, largeBuffer = 4 << 10, 128 << 10

// Copy copies from r to w until r ends, each piece as it comes. It holds little memory while nothing comes, as most WebSockets
// are quiet most of the time.
func Copy(w io.Writer, r io.Reader) (n int64, err error) {
	buffer := make([]byte, smallBuffer)
	for {
		got, err := r.Read(buffer)
		if got > 0 {
			put, err := w.Write(buffer[:got])
			n += int64(put)
			if err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if got == len(buffer) && got < largeBuffer {
			buffer = make([]byte, 2*got)
		}
	}
}
