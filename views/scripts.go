package views

import (
	"net/url"

	"wherry/static"
)

// logViewScript is the address of the log viewer.
func logViewScript() string { return static.URL("logview.js") }

// query is a query with one value, or nothing where the value is empty.
func query(name, value string) string {
	if value == "" {
		return ""
	}
	return "?" + url.Values{name: {value}}.Encode()
}
