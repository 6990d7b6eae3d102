package platform

import (
	"path"
	"strings"
	"unicode/utf8"
)

// Limits of reports: how many a run has, and how long names are, in bytes.
const (
	MaxReports        = 1000
	maxReportName     = 512
	maxReportDisplay  = 200
	maxReportMIMEType = 100
)

// Clean checks what an agent says of a report: it is input too.
func (r Report) Clean() error {
	switch {
	case r.Name == "" || len(r.Name) > maxReportName || path.Clean("/"+r.Name) != "/"+r.Name || strings.ContainsAny(r.Name, "\x00\n\r\\") || !utf8.ValidString(r.Name):
		return Errorf(CodeInvalid, "%q is no name of a report.", r.Name)
	case len(r.Display) > maxReportDisplay || len(r.MIMEType) > maxReportMIMEType || r.Size < 0:
		return Errorf(CodeInvalid, "The report %q has a display name or type that is too long, or no size.", r.Name)
	}
	return nil
}

// Path is where the report is, relative to its run's work directory.
func (r Report) Path(runID string) string {
	return KeptFolder(runID) + "/" + KeptReports + "/" + r.Name
}
