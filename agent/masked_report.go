package agent

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"wherry/mask"
)

// maskReport returns a report as it is kept: as it is, or, where it is a text with a secret in it, a masked copy.
func (a *agent) maskReport(r foundReport) (foundReport, error) {
	if !isText(r.MIMEType) {
		return r, nil
	}
	if found, err := maskInto(io.Discard, r.path, a.mask); err != nil || !found {
		return r, err
	}
	folder := filepath.Join(a.Dir, "masked-reports")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return r, err
	}
	copied, err := os.CreateTemp(folder, "*")
	if err != nil {
		return r, err
	}
	_, err = maskInto(copied, r.path, a.mask)
	info, statErr := copied.Stat()
	if err := errors.Join(err, statErr, copied.Close()); err != nil {
		return r, err
	}
	r.path, r.Size = copied.Name(), info.Size()
	return r, nil
}

// isText tells whether a type's files are texts: what else there is, such as pictures, would be broken by a mask.
func isText(mime string) bool {
	mime, _, _ = strings.Cut(mime, ";")
	return strings.HasPrefix(mime, "text/") || mime == "application/json" || mime == "application/xml" || mime == "image/svg+xml"
}

// maskInto writes a file, masked, and tells whether there was anything to mask.
func maskInto(to io.Writer, path string, m *mask.Mask) (found bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	stream := mask.Stream{Mask: m}
	chunk, out := make([]byte, 256<<10), []byte(nil)
	for {
		n, err := file.Read(chunk)
		out = stream.Add(out[:0], chunk[:n])
		last := errors.Is(err, io.EOF)
		if last {
			out = append(out, stream.End()...)
		}
		if _, failure := to.Write(out); failure != nil {
			return stream.Found, failure
		}
		if last {
			return stream.Found, nil
		}
		if err != nil {
			return stream.Found, err
		}
	}
}
