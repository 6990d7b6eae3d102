package platform

import "testing"

func TestAUserNameIsMadeOfWhatAProviderKnows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, email, want string }{
		{"ada", "x@example.org", "ada"}, {"", "ada.lovelace@example.org", "ada-lovelace"}, {"ada@example.org", "", "ada"}, {"Дарья", "", "user"}, {"Zoë O'Hara", "", "Zo-OHara"},
		{"-..-", "", "user"}, {"a123456789b123456789c123456789d1234567890", "", "a123456789b123456789c123456789d123"},
	} {
		got := UserNameFrom(c.name, c.email)
		if got != c.want || !IsUserName(got) {
			t.Errorf("%q, %q: %q, want %q", c.name, c.email, got, c.want)
		}
	}
}
