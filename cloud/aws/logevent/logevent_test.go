package logevent

import (
	"bytes"
	"strings"
	"testing"
)

func TestEveryByteComesBack(t *testing.T) {
	t.Parallel()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for name, text := range map[string][]byte{
		"a line":                  []byte("hello\n"),
		"without a line end":      []byte("hel"),
		"only a line end":         []byte("\n"),
		"no UTF-8":                every,
		"quotes, tags and colour": []byte("\"<b>\" & \x1b[31m\u2028\n"),
		"as long as can be":       bytes.Repeat([]byte("x"), MaxText),
		"JSON would be too long":  bytes.Repeat([]byte{1}, MaxText),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := Encode(Event{42, text})
			if len(message) > maxMessage {
				t.Errorf("%d bytes of text are a message of %d", len(text), len(message))
			}
			if e, err := Decode(message); err != nil || e.Offset != 42 || !bytes.Equal(e.Text, text) {
				t.Errorf("%d bytes at %d, %v", len(e.Text), e.Offset, err)
			}
		})
	}
}

func TestLinesBecomeEvents(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", MaxText+5)
	events := Split(100, []byte("a\n\nb\n"+long+"\nrest"))
	want := []Event{{100, []byte("a\n")}, {102, []byte("\n")}, {103, []byte("b\n")}, {105, []byte(long[:MaxText])},
		{105 + MaxText, []byte(long[MaxText:] + "\n")}, {105 + MaxText + 6, []byte("rest")}}
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for i, e := range events {
		if e.Offset != want[i].Offset || !bytes.Equal(e.Text, want[i].Text) {
			t.Errorf("event %d has %d bytes at %d, want %d at %d", i, len(e.Text), e.Offset, len(want[i].Text), want[i].Offset)
		}
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a line of something else", `{"offset":-1,"text":"x"}`, `{"offset":1}`, `{"offset":1,"text":"#","base64":true}`, `[]`} {
		if e, err := Decode(text); err == nil {
			t.Errorf("%q is taken for %+v", text, e)
		}
	}
}

func FuzzALogComesBackFromItsEvents(f *testing.F) {
	f.Add(int64(0), []byte("a\nb\xff\n\nc"))
	f.Add(int64(7), []byte(""))
	f.Add(int64(1<<40), bytes.Repeat([]byte("z"), MaxText+1))
	f.Fuzz(func(t *testing.T, offset int64, text []byte) {
		if offset < 0 || offset > 1<<50 {
			return
		}
		at, back := offset, []byte{}
		for _, e := range Split(offset, text) {
			message := Encode(e)
			got, err := Decode(message)
			if err != nil || len(message) > maxMessage || got.Offset != at {
				t.Fatalf("an event at %d, want %d, %d bytes, %v", got.Offset, at, len(message), err)
			}
			at, back = at+int64(len(got.Text)), append(back, got.Text...)
		}
		if !bytes.Equal(back, text) {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"offset":1,"text":"x"}`)
	f.Add(`{"offset":1,"text":"eA==","base64":true}`)
	f.Fuzz(func(t *testing.T, text string) {
		if e, err := Decode(text); err == nil && (e.Offset < 0 || len(e.Text) == 0) {
			t.Fatalf("%q is taken for %+v", text, e)
		}
	})
}
