// Package logevent is how the lines of a run's log lie in CloudWatch Logs, for the agent, which writes them, and the portal,
// which reads back what it missed. Each event says where in the log its bytes begin, so that it does not matter in which
// order, or how often, events are read.
package logevent

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"wherry/platform"
)

// MaxText is the most bytes of a log in one event. An event may have 256 KiB (CloudWatch Logs quotas), and JSON may write
// one byte as six, so longer texts are split, and texts that grow too much are Base64.
const MaxText = 180 << 10

// maxMessage is the most bytes of an event's message: 256 KiB less what CloudWatch Logs counts for the event itself.
const maxMessage = 256<<10 - 26

// Stream is the log stream of one of a run's logs.
func Stream(runID string, stream platform.LogStream) string { return runID + "/" + string(stream) }

// Event is a line of a log, or a part of one.
type Event struct {
	Offset int64  // where in the log it begins, in bytes
	Text   []byte // with its line end, where it has one; at most MaxText
}

// message is the form of an event in CloudWatch Logs.
type message struct {
	Offset int64  `json:"offset"`
	Text   string `json:"text"`
	Base64 bool   `json:"base64,omitempty"` // Text is Base64, because it is no UTF-8 or JSON would make it too long
}

// Encode returns the event's message.
func Encode(e Event) string {
	if utf8.Valid(e.Text) {
		if text := encode(message{Offset: e.Offset, Text: string(e.Text)}); len(text) <= maxMessage {
			return text
		}
	}
	return encode(message{Offset: e.Offset, Text: base64.StdEncoding.EncodeToString(e.Text), Base64: true})
}

func encode(m message) string {
	var b strings.Builder
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false) // people read it in CloudWatch
	if err := w.Encode(m); err != nil {
		panic(err) // numbers and strings always marshal
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Decode reads a message that Encode made. Anything else is an error: others may write to the stream.
func Decode(text string) (Event, error) {
	var m message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return Event{}, fmt.Errorf("reading an event of a log: %w", err)
	}
	e := Event{Offset: m.Offset, Text: []byte(m.Text)}
	if m.Base64 {
		var err error
		if e.Text, err = base64.StdEncoding.DecodeString(m.Text); err != nil {
			return Event{}, fmt.Errorf("reading an event of a log: %w", err)
		}
	}
	if e.Offset < 0 || len(e.Text) == 0 {
		return Event{}, errors.New("an event of a log has no place in it")
	}
	return e, nil
}

// Split cuts a part of a log, which begins at offset, into events: one for each line, several for a long one. What follows the
// last line end is an event too.
func Split(offset int64, text []byte) (events []Event) {
	for len(text) > 0 {
		end := len(text)
		for i, b := range text[:min(len(text), MaxText)] {
			if b == '\n' {
				end = i + 1
				break
			}
		}
		end = min(end, MaxText)
		events = append(events, Event{offset, text[:end]})
		offset, text = offset+int64(end), text[end:]
	}
	return events
}
