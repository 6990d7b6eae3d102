package views

import "wherry/static"

// logViewScript is the address of the log viewer.
func logViewScript() string { return static.URL("logview.js") }
