package platform

import (
	"cmp"
	"path"
	"strings"
)

// ReportKind is how pages show a report.
type ReportKind string

// The kinds of report.
const (
	ReportHTML  ReportKind = "HTML"
	ReportImage ReportKind = "image"
	ReportPDF   ReportKind = "PDF"
	ReportTable ReportKind = "table" // CSV or TSV
	ReportText  ReportKind = "text"
	ReportOther ReportKind = "file" // only to be downloaded
)

// reportKinds tells by the end of a file's name, or else by the type that its agent told, how it is shown, and with which
// type it is sent. What a run's files say of themselves is not believed any further.
var reportKinds = map[string]struct {
	kind        ReportKind
	contentType string
}{
	".html": {ReportHTML, htmlType}, ".htm": {ReportHTML, htmlType}, "text/html": {ReportHTML, htmlType},
	".png": {ReportImage, "image/png"}, "image/png": {ReportImage, "image/png"},
	".jpg": {ReportImage, "image/jpeg"}, ".jpeg": {ReportImage, "image/jpeg"}, "image/jpeg": {ReportImage, "image/jpeg"},
	".gif": {ReportImage, "image/gif"}, ".webp": {ReportImage, "image/webp"}, ".svg": {ReportImage, "image/svg+xml"},
	".pdf": {ReportPDF, "application/pdf"}, "application/pdf": {ReportPDF, "application/pdf"},
	".csv": {ReportTable, textType}, ".tsv": {ReportTable, textType}, "text/csv": {ReportTable, textType}, "text/tab-separated-values": {ReportTable, textType},
	".txt": {ReportText, textType}, ".log": {ReportText, textType}, ".json": {ReportText, textType}, ".yml": {ReportText, textType}, ".yaml": {ReportText, textType},
	".md": {ReportText, textType}, ".xml": {ReportText, textType}, ".dot": {ReportText, textType}, ".mmd": {ReportText, textType},
	"text/plain": {ReportText, textType}, "application/json": {ReportText, textType},
}

const (
	htmlType = "text/html; charset=utf-8"
	textType = "text/plain; charset=utf-8"
)

// Shown tells how the report is shown, and with which content type it is sent.
func (r Report) Shown() (kind ReportKind, contentType string) {
	as, ok := reportKinds[strings.ToLower(path.Ext(r.Name))]
	if !ok {
		mimeType, _, _ := strings.Cut(r.MIMEType, ";")
		as, ok = reportKinds[strings.ToLower(strings.TrimSpace(mimeType))]
	}
	if !ok {
		return ReportOther, "application/octet-stream"
	}
	return as.kind, as.contentType
}

// Title is what people call the report.
func (r Report) Title() string { return cmp.Or(r.Display, path.Base(r.Name)) }
