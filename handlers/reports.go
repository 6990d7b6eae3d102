package handlers

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/platform"
	"wherry/views"
)

const (
	// shownOfReport is how much of a text or table its page shows, in bytes.
	shownOfReport = 256 << 10
	maxReportRows = 500
	// maxReportColumns keeps a table readable; the rest is in the file.
	maxReportColumns = 60
)

// Policies of reports. A report is made by whatever a pipeline ran, so it is a stranger here: the sandbox gives it an
// origin of its own ("null"), in which no cookie of the portal is sent and nothing of the portal can be read, although
// its scripts run. It cannot load or send anything, open windows or send forms. jsDelivr is where Nextflow's own graph of
// a pipeline has its drawing script from (mermaid.dag.template.html); without it the graph stays text.
const (
	reportPolicy = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' https://cdn.jsdelivr.net; " +
		"style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	// A browser's reader of PDFs does not work in a sandbox. A PDF's own scripts do not reach the page that it is in.
	pdfPolicy  = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	filePolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// reportPolicies names the policy of each kind; others have filePolicy.
var reportPolicies = map[platform.ReportKind]string{platform.ReportHTML: reportPolicy, platform.ReportPDF: pdfPolicy}

// Reports lists a run's reports and shows one of them.
func (h *Handlers) Reports(c echo.Context) error {
	s, err := h.shell(c, "", "runs")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, c.Param("run")); err != nil {
		return err
	}
	v := views.ReportView{}
	if v.Run, err = h.runParam(c); err != nil {
		return err
	}
	s.Title = "Reports of " + v.Run.Name
	if v.Reports, err = h.DB.Reports(c.Request().Context(), v.Run.ID); err != nil {
		return err
	}
	if c.QueryParam("part") == "list" {
		v.Name = c.QueryParam("show")
		return render(c, http.StatusOK, views.ReportList(s, v))
	}
	if err := h.chooseReport(c, &v); err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set("Content-Security-Policy", header.Get("Content-Security-Policy")+"; frame-src 'self'")
	return render(c, http.StatusOK, views.ReportsPage(s, v))
}

// chooseReport finds the report that is asked for, or the first that can be shown, and reads as much of it as the page
// itself shows.
func (h *Handlers) chooseReport(c echo.Context, v *views.ReportView) error {
	v.Name = c.QueryParam("show")
	for _, r := range v.Reports {
		kind, _ := r.Shown()
		if r.Name == v.Name || (v.Name == "" && kind != platform.ReportOther) {
			v.Name, v.Shown, v.Kind = r.Name, r, kind
			break
		}
	}
	switch {
	case v.Shown.Name == "" && v.Name != "":
		return platform.Errorf(platform.CodeNotFound, "The run has no report %q.", v.Name)
	case v.Kind == platform.ReportText || v.Kind == platform.ReportTable:
		h.readReport(c.Request().Context(), v)
	}
	return nil
}

// readReport reads the beginning of a text or a table, or notes why it cannot.
func (h *Handlers) readReport(ctx context.Context, v *views.ReportView) {
	file, err := h.openReport(ctx, v.Run, v.Shown)
	if err != nil {
		v.Note = inWords(err)
		return
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, shownOfReport+1))
	if err != nil {
		v.Note = "The report cannot be read to its end. Try again, or download it."
		return
	}
	if v.Cut = len(text) > shownOfReport; v.Cut {
		text = text[:shownOfReport]
	}
	v.Text = strings.ToValidUTF8(string(text), "\uFFFD")
	if v.Kind == platform.ReportTable {
		v.Rows, v.Cut = readRows(v.Text, v.Shown, v.Cut)
	}
}

// readRows reads a table, the names of its columns first; nil for a text that is none. more tells that it goes on.
func readRows(text string, report platform.Report, cut bool) (rows [][]string, more bool) {
	r := csv.NewReader(strings.NewReader(text))
	r.LazyQuotes, r.FieldsPerRecord = true, -1
	if path.Ext(report.Name) == ".tsv" || strings.HasPrefix(report.MIMEType, "text/tab-") {
		r.Comma = '\t'
	}
	for len(rows) <= maxReportRows {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			if cut && len(rows) > 1 {
				rows = rows[:len(rows)-1] // it may be half a row
			}
			return rows, cut
		}
		if err != nil {
			return nil, cut
		}
		if len(row) > maxReportColumns {
			row, cut = row[:maxReportColumns], true
		}
		rows = append(rows, row)
	}
	return rows[:maxReportRows], true
}

// openReport opens a report's file. Its errors are for people.
func (h *Handlers) openReport(ctx context.Context, run platform.Run, report platform.Report) (fs.File, error) {
	env, err := h.DB.AnyComputeEnv(ctx, run.ComputeEnvID)
	if err != nil {
		return nil, err
	}
	place, ok := h.Clouds[env.Platform]
	if !ok {
		return nil, platform.Errorf(platform.CodeConflict, "This portal has no platform %q.", env.Platform)
	}
	file, err := place.Open(ctx, env, run.WorkDir, report.Path(run.ID))
	var told *cloud.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, platform.Errorf(platform.CodeNotFound, "The report is not in the work directory any more. It may have been cleaned.")
	case errors.As(err, &told):
		h.Log.WarnContext(ctx, "reading a report", "report", report.Name, "error", err)
		return nil, platform.Errorf(platform.CodeConflict, "The report cannot be read: %s", told.Message)
	}
	return file, err
}

// ReportFile sends a report, to be shown or, with ?download, to be kept. Its policy keeps the portal safe from what it may be.
func (h *Handlers) ReportFile(c echo.Context) error {
	run, err := h.runParam(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	report, err := h.DB.Report(ctx, run.ID, wildcard(c))
	if err != nil {
		return err
	}
	file, err := h.openReport(ctx, run, report)
	if err != nil {
		return err
	}
	defer file.Close()
	kind, contentType := report.Shown()
	how := "inline"
	if kind == platform.ReportOther || c.QueryParam("download") != "" {
		how = "attachment"
	}
	policy, ok := reportPolicies[kind]
	if !ok {
		policy = filePolicy
	}
	header := c.Response().Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Del("Cross-Origin-Opener-Policy") // browsers show nothing of a page that has both it and a sandbox
	header.Set(echo.HeaderContentDisposition, mime.FormatMediaType(how, map[string]string{"filename": path.Base(report.Name)}))
	return c.Stream(http.StatusOK, contentType, file)
}

// wildcard is what stands for the * of a route, unescaped: the router matches the path as it was sent where that has
// escapes of its own.
func wildcard(c echo.Context) string {
	name := c.Param("*")
	if c.Request().URL.RawPath == "" {
		return name
	}
	plain, err := url.PathUnescape(name)
	if err != nil {
		return name
	}
	return plain
}
