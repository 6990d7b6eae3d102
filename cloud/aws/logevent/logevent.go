// Package logevent is how a piece of a run's log is written into one event of CloudWatch Logs, so that who reads the events
// can put the log together again, byte for byte. The agent writes them, the portal reads them.
package logevent

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Event is the message of one event.
type Event struct {
	Offset int64  `json:"offset"`           // of the first byte of Text in the log, in bytes
	Text   string `json:"text"`             // of the log
	Base64 bool   `json:"base64,omitempty"` // Text is in base64, because the bytes are no valid UTF-8
}

// Encode writes a piece of a log that begins at an offset. What people may read in CloudWatch stays readable; bytes that are
// no valid UTF-8, which JSON cannot hold, are written in base64.
func Encode(offset int64, raw []byte) string {
	e := Event{Offset: offset, Text: string(raw)}
	if !utf8.Valid(raw) {
		e.Text, e.Base64 = base64.StdEncoding.EncodeToString(raw), true
	}
	var b strings.Builder
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	if err := w.Encode(e); err != nil {
		panic(fmt.Sprintf("an event of valid UTF-8 always marshals: %v", err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// errNoEvent means that a message was not written by Encode.
var errNoEvent = errors.New("this is no event of a run's log")

// Decode reads what Encode wrote.
func Decode(message string) (offset int64, raw []byte, err error) {
	var e struct {
		Offset *int64  `json:"offset"`
		Text   *string `json:"text"`
		Base64 bool    `json:"base64"`
	}
	if err := json.Unmarshal([]byte(message), &e); err != nil || e.Offset == nil || e.Text == nil || *e.Offset < 0 {
		return 0, nil, errNoEvent
	}
	raw = []byte(*e.Text)
	if e.Base64 {
		if raw, err = base64.StdEncoding.DecodeString(*e.Text); err != nil {
			return 0, nil, errNoEvent
		}
	}
	return *e.Offset, raw, nil
}
