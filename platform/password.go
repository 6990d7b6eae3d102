package platform

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the list of common passwords
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of passwords, in characters. The least is that of NIST SP 800-63B-4 (3.1.1.2) for a password that is the only factor; it holds
// for everybody, so that turning a second factor off leaves nobody with a password that is too short.
const (
	MinPasswordLength = 15
	MaxPasswordLength = 256
)

// PasswordHint is the rule for new passwords as forms say it.
const PasswordHint = "At least 15 characters. A few words make a good one. Any characters count, spaces too."

// commonPasswordsFile is Django's list, one a line (common_passwords.LICENSE).
//
//go:embed common_passwords.txt.gz
var commonPasswordsFile []byte

// commonPasswords is the list as a set, in lower case.
var commonPasswords = sync.OnceValue(func() map[string]bool {
	set := map[string]bool{}
	unpacked, err := gzip.NewReader(bytes.NewReader(commonPasswordsFile))
	if err != nil {
		panic("the list of common passwords is broken: " + err.Error()) // it is a part of the program
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		panic("the list of common passwords is broken: " + err.Error())
	}
	for line := range strings.Lines(string(text)) {
		set[strings.ToLower(strings.TrimSpace(line))] = true
	}
	return set
})

// NormalizePassword makes one text of all the ways in which keyboards and systems write the same password (NFKC, as NIST SP 800-63B-4
// advises). What is hashed and compared is what it returns.
func NormalizePassword(password string) string { return norm.NFKC.String(password) }

// CheckPassword tells what is wrong with a new password, by NIST SP 800-63B-4: its length, and whether it is one of those that are
// tried first. There are no rules on kinds of characters. about is what others know of the user: their name, e-mail address,
// organization.
func CheckPassword(password string, about ...string) error {
	password = NormalizePassword(password)
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return Errorf(CodeInvalid, "This is not text.")
	case n < MinPasswordLength:
		return Errorf(CodeInvalid, "Use at least %d characters. A few words make a good one.", MinPasswordLength)
	case n > MaxPasswordLength:
		return Errorf(CodeInvalid, "Use at most %d characters.", MaxPasswordLength)
	}
	plain := strings.ToLower(password)
	switch {
	case commonPasswords()[plain], isOneOverAndOver(plain):
		return Errorf(CodeInvalid, "This password is among those that are tried first. Use another one: a few words that do not belong together make a good one.")
	case isSequence(plain):
		return Errorf(CodeInvalid, "This password is a sequence or a few characters over and over. A few words that do not belong together make a good one.")
	case isMostlyContext(plain, about):
		return Errorf(CodeInvalid, "This password is made of what others know of you: your name, your organization or this portal. Use words that have nothing to do with you.")
	}
	return nil
}

// isOneOverAndOver tells whether a password is a common one repeated, such as "passwordpassword".
func isOneOverAndOver(plain string) bool {
	for n := 1; n <= len(plain)/2; n++ {
		if len(plain)%n == 0 && strings.Repeat(plain[:n], len(plain)/n) == plain && (n <= 4 || commonPasswords()[plain[:n]]) {
			return true
		}
	}
	return false
}

// keyRows are how keys lie beside each other.
var keyRows = []string{"1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"}

// isSequence tells whether most characters of a password follow from the one before, or there are hardly any different ones.
func isSequence(plain string) bool {
	runes := []rune(plain)
	different := map[rune]bool{}
	steps := 0
	for i, r := range runes {
		different[r] = true
		if i > 0 && follows(runes[i-1], r) {
			steps++
		}
	}
	return len(different) < 5 || steps*3 >= (len(runes)-1)*2
}

// follows tells whether b is the same as a, or its neighbour in the alphabet or on a keyboard.
func follows(a, b rune) bool {
	if d := a - b; d >= -1 && d <= 1 {
		return true
	}
	return slices.ContainsFunc(keyRows, func(row string) bool {
		i, j := strings.IndexRune(row, a), strings.IndexRune(row, b)
		return i >= 0 && j >= 0 && (i-j == 1 || j-i == 1)
	})
}

// ownWords are what this portal and its kind are called.
var ownWords = []string{"wherry", "nextflow", "pipeline", "password", "passphrase", "passwort"}

// minOwnPart is how many letters and digits of a password must be left without what everybody knows.
const minOwnPart = 8

// isMostlyContext tells whether little is left of a password without the words that others know of its user.
func isMostlyContext(plain string, about []string) bool {
	words := slices.Clone(ownWords)
	for _, text := range about {
		name, _, _ := strings.Cut(strings.ToLower(NormalizePassword(text)), "@") // of an e-mail address its local part
		words = append(words, name)
		words = append(words, strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) })...)
	}
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	rest, found := plain, false
	for _, word := range words {
		if utf8.RuneCountInString(word) >= 3 && strings.Contains(rest, word) {
			rest, found = strings.ReplaceAll(rest, word, " "), true
		}
	}
	left := 0
	for _, r := range rest {
		if unicode.IsLetter(r) {
			left++
		}
	}
	return found && left < minOwnPart
}
