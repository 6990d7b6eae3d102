package platform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Code sorts errors by what the person who meets one can do about it.
type Code string

// The codes. Only errors with a code are shown to people; all others become "internal" with a reference to the log.
const (
	CodeInvalid      Code = "invalid"      // the input breaks a rule: change it
	CodeUnauthorized Code = "unauthorized" // sign in
	CodeForbidden    Code = "forbidden"    // ask for a role
	CodeNotFound     Code = "not-found"
	CodeConflict     Code = "conflict"  // the thing is in a state that does not allow it
	CodeGone         Code = "gone"      // it was there and will not come back
	CodeNotReady     Code = "not-ready" // ask again in a moment
)

// Error is an error that may be shown to people.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error. Its message is a whole sentence for people.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrorCode returns the code of err, or "" when err has none and must not be shown.
func ErrorCode(err error) Code {
	var e *Error
	var f FieldErrors
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &f):
		return CodeInvalid
	}
	return ""
}

// FieldErrors tells, by the name of a field, what is wrong with what was entered there.
type FieldErrors map[string]string

func (f FieldErrors) Error() string {
	parts := make([]string, 0, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		parts = append(parts, name+": "+f[name])
	}
	return strings.Join(parts, "; ")
}

// Add notes what is wrong with a field; the first error of a field is kept.
func (f FieldErrors) Add(field, format string, args ...any) {
	if _, ok := f[field]; !ok {
		f[field] = fmt.Sprintf(format, args...)
	}
}

// OrNil returns f as an error, or nil when no field has an error.
func (f FieldErrors) OrNil() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// WithDetails joins what people are told and what only the curious, or a provider's support, want to know: the details
// are what follows the first line end.
func WithDetails(message, details string) string {
	if details == "" {
		return message
	}
	return message + "\n" + details
}

// Shorten cuts text that is longer than limit bytes, and says so. What others say may be of any length.
func Shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + " …"
}

// SplitDetails is the opposite of WithDetails.
func SplitDetails(text string) (message, details string) {
	message, details, _ = strings.Cut(text, "\n")
	return message, details
}
