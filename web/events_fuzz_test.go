package web

import "testing"

// FuzzEventID reads the id with which a browser comes back to a stream.
func FuzzEventID(f *testing.F) {
	for _, id := range []string{"1-2", "9223372036854775807-9223372036854775807", "-1-2", "1--2", "1", "", "-", "0x1-1", "\xff"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		p, ok := parsePosition(id)
		if !ok {
			return
		}
		if p.Change < 0 || p.Line < 0 {
			t.Errorf("%q is %+v", id, p)
		}
		if again, ok := parsePosition(p.String()); !ok || again != p {
			t.Errorf("%q is %+v, and again %+v", id, p, again)
		}
	})
}
