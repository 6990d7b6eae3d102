package mask

import "bytes"

// Stream masks a text that comes in parts. It holds back what may be the beginning of a secret.
type Stream struct {
	*Mask
	held  []byte // not decided yet
	cover int    // how much at the beginning of held belongs to a secret in any case
	shown int    // how much at the beginning of held was shown
	Found bool   // a secret was in the text
}

// Add takes a part of the text, and appends what is decided to out, masked. Every byte that belongs to a secret is left out, also
// where one secret lies over another.
func (s *Stream) Add(out, part []byte) []byte { return s.decide(out, part, false) }

// End returns what was held back, when nothing comes any more.
func (s *Stream) End() []byte { return s.decide(nil, nil, true) }

// Pause is called when nothing has come for a while. So that what is shown stays live, up to three characters that may be a
// secret's beginning are shown. The rest of the secret stays masked, whenever it comes; more than that is held back until then.
func (s *Stream) Pause() (shown []byte) {
	if n := len(s.held); n < minMasked && s.cover == 0 && s.shown < n {
		shown = bytes.Clone(s.held[s.shown:])
		s.shown = n
	}
	return shown
}

func (s *Stream) decide(out, part []byte, last bool) []byte {
	text := part
	if len(s.held) > 0 {
		text = append(s.held, part...)
	}
	i, from := 0, s.shown // what lies between from and i is shown as it is
	for ; i < len(text); i++ {
		if i+1 < len(text) && !s.begins(text[i], text[i+1]) {
			if i < s.cover {
				from = i + 1
			}
			continue
		}
		length, open := s.at(text[i:])
		if open && !last {
			break
		}
		if length > 0 {
			if i >= s.cover {
				if from < i {
					out = append(out, text[from:i]...)
				}
				out = append(out, Shown...)
			}
			s.cover, s.Found = max(s.cover, i+length), true
		}
		if i < s.cover {
			from = i + 1
		}
	}
	if from < i {
		out = append(out, text[from:i]...)
	}
	s.held = append(s.held[:0:0], text[i:]...)
	s.cover, s.shown = max(0, s.cover-i), max(0, s.shown-i)
	return out
}
