package cloud

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"wherry/platform"
)

// maxRecovered bounds how many bytes of one log, and of one line of trace calls, are read back at once.
const maxRecovered = 16 << 20

// KeptFiles opens a file that an agent kept, by its name in the work's folder (RecoverRequest.Folder), from a byte offset on.
// fs.ErrNotExist means that it kept none, or less.
type KeptFiles func(name string, offset int64) (io.ReadCloser, error)

// ReadKept reads what an agent kept, for Recover: the logs from the offsets on, and of a machine that has ended the trace
// calls, the checkpoints and the end too. What an agent left half written is not there.
func ReadKept(open KeptFiles, req RecoverRequest) (r Recovered, err error) {
	r.Logs = map[platform.LogStream][]byte{}
	for stream, name := range keptLogs {
		text, more, err := readSome(open, name, req.Offsets[stream])
		if err != nil {
			return r, err
		}
		if len(text) > 0 {
			r.Logs[stream] = text
		}
		r.More = r.More || more
	}
	if !req.Ended {
		return r, nil
	}
	if r.Trace, err = readTrace(open); err != nil {
		return r, err
	}
	if err = readJSON(open, platform.KeptCheckpointList, &r.Checkpoints); err != nil {
		return r, err
	}
	err = readJSON(open, platform.KeptEnd, &r.End)
	return r, err
}

var keptLogs = map[platform.LogStream]string{platform.LogOutput: platform.KeptOutput, platform.LogNextflow: platform.KeptNextflow}

// KeptLog is the name of the file in which an agent keeps a log.
func KeptLog(stream platform.LogStream) string { return keptLogs[stream] }

func readSome(open KeptFiles, name string, offset int64) (text []byte, more bool, err error) {
	file, err := open(name, offset)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	if text, err = io.ReadAll(io.LimitReader(file, maxRecovered+1)); err != nil {
		return nil, false, err
	}
	if len(text) > maxRecovered {
		return text[:maxRecovered], true, nil
	}
	return text, false, nil
}

// readTrace reads kept calls up to the first line that is none.
func readTrace(open KeptFiles) (calls []platform.KeptCall, err error) {
	file, err := open(platform.KeptTrace, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxRecovered)
	for lines.Scan() {
		var call platform.KeptCall
		if json.Unmarshal(lines.Bytes(), &call) != nil {
			return calls, nil
		}
		calls = append(calls, call)
	}
	return calls, lines.Err()
}

// readJSON reads a file into v, which stays as it is where there is none.
func readJSON(open KeptFiles, name string, v any) error {
	text, _, err := readSome(open, name, 0)
	if err != nil || len(text) == 0 {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return Errorf(KindInvalid, err, "What the agent left as %s cannot be read.", name)
	}
	return nil
}

// String tells how much was recovered, for the log.
func (r Recovered) String() string {
	n := 0
	for _, text := range r.Logs {
		n += len(text)
	}
	return fmt.Sprintf("%d bytes of logs, %d trace calls, %d checkpoints, end %t", n, len(r.Trace), len(r.Checkpoints), r.End != nil)
}
