package platform

import "testing"

func TestAReportIsSentAsWhatItsNameSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, told  string
		kind        ReportKind
		contentType string
	}{
		{"report.html", "text/html", ReportHTML, "text/html; charset=utf-8"},
		{"multiqc/report.HTML", "", ReportHTML, "text/html; charset=utf-8"},
		{"counts.csv", "text/html", ReportTable, "text/plain; charset=utf-8"},
		{"counts.tsv", "", ReportTable, "text/plain; charset=utf-8"},
		{"plot.svg", "text/html", ReportImage, "image/svg+xml"},
		{"plot", "image/png", ReportImage, "image/png"},
		{"notes", "text/plain; charset=utf-8", ReportText, "text/plain; charset=utf-8"},
		{"trace.txt", "text/html", ReportText, "text/plain; charset=utf-8"},
		{"paper.pdf", "", ReportPDF, "application/pdf"},
		{"reads.bam", "application/javascript", ReportOther, "application/octet-stream"},
		{"page.xhtml", "application/xhtml+xml", ReportOther, "application/octet-stream"},
	} {
		kind, contentType := Report{Name: c.name, MIMEType: c.told}.Shown()
		if kind != c.kind || contentType != c.contentType {
			t.Errorf("%s told as %q: %s, %s; want %s, %s", c.name, c.told, kind, contentType, c.kind, c.contentType)
		}
	}
}
