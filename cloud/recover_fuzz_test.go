package cloud

import (
	"bytes"
	"io"
	"io/fs"
	"testing"

	"wherry/platform"
)

// FuzzReadKept reads back what an agent left in a work directory, in which others may write.
func FuzzReadKept(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), []byte(`{"name":"create","body":{}}`+"\n{"), []byte(`[{"id":"a"}]`), []byte(`{"report":{"exitCode":1},"steps":[{"name":"booted"}]}`), int64(4))
	f.Add([]byte{}, []byte("null\n[]"), []byte("{"), []byte(`{"report":[]}`), int64(-1))
	f.Fuzz(func(t *testing.T, log, trace, list, end []byte, offset int64) {
		files := map[string][]byte{platform.KeptOutput: log, platform.KeptTrace: trace, platform.KeptCheckpointList: list, platform.KeptEnd: end}
		got, err := ReadKept(func(name string, offset int64) (io.ReadCloser, error) {
			text, ok := files[name]
			if !ok || offset < 0 || offset > int64(len(text)) {
				return nil, fs.ErrNotExist
			}
			return io.NopCloser(bytes.NewReader(text[offset:])), nil
		}, RecoverRequest{Offsets: map[platform.LogStream]int64{platform.LogOutput: offset}, Ended: true})
		var known *Error
		if err != nil {
			if known, _ = err.(*Error); known == nil || known.Message == "" {
				t.Errorf("%v", err)
			}
			return
		}
		if offset >= 0 && offset < int64(len(log)) && !bytes.Equal(got.Logs[platform.LogOutput], log[offset:]) {
			t.Errorf("%q from %d is %q", log, offset, got.Logs[platform.LogOutput])
		}
		if got.String() == "" {
			t.Error("nothing is told of it")
		}
	})
}
