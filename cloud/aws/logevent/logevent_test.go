package logevent

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, raw := range [][]byte{nil, []byte("one\ntwo\r\n"), []byte("\x1b[32mgreen\x1b[0m <&>  "), []byte("Ångström 🛶"),
		{0xc3}, {0xff, 0x00, '\n'}, []byte("�")} {
		offset, got, err := Decode(Encode(7, raw))
		if err != nil || offset != 7 || !bytes.Equal(got, raw) {
			t.Errorf("%q became %d, %q (%v)", raw, offset, got, err)
		}
	}
}

func TestTextStaysReadable(t *testing.T) {
	t.Parallel()
	if got, want := Encode(3, []byte("executor >  local (1)\n")), `{"offset":3,"text":"executor >  local (1)\n"}`; got != want {
		t.Errorf("%s", got)
	}
	if got, want := Encode(0, []byte{0xff}), `{"offset":0,"text":"/w==","base64":true}`; got != want {
		t.Errorf("%s", got)
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"", "plain text", "[]", "{}", "null", `{"offset":1}`, `{"text":"a"}`, `{"offset":-1,"text":"a"}`,
		`{"offset":"1","text":"a"}`, `{"offset":1,"text":"not base64!","base64":true}`, `{"offset":1.5,"text":"a"}`} {
		if offset, raw, err := Decode(message); err == nil {
			t.Errorf("%s was read as %d, %q", message, offset, raw)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(int64(0), []byte("a line\n"))
	f.Add(int64(1<<40), []byte{0xe2, 0x82})
	f.Fuzz(func(t *testing.T, offset int64, raw []byte) {
		if offset < 0 {
			t.Skip()
		}
		message := Encode(offset, raw)
		if !json.Valid([]byte(message)) {
			t.Fatalf("%q is no JSON", message)
		}
		gotOffset, got, err := Decode(message)
		if err != nil || gotOffset != offset || !bytes.Equal(got, raw) {
			t.Errorf("%q became %d, %q (%v)", raw, gotOffset, got, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"offset":1,"text":"a"}`)
	f.Add(`{"offset":1,"text":"/w==","base64":true}`)
	f.Fuzz(func(t *testing.T, message string) {
		offset, raw, err := Decode(message)
		if err != nil {
			return
		}
		again, same, err := Decode(Encode(offset, raw))
		if err != nil || again != offset || !bytes.Equal(same, raw) {
			t.Errorf("%q was read as %d, %q, and then as %d, %q (%v)", message, offset, raw, again, same, err)
		}
	})
}
