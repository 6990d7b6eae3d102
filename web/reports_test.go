package web

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wherry/platform"
)

// addReports makes reports of a run, with their files.
func (s *site) addReports(r platform.Run, m platform.Machine, files map[string]string) {
	s.t.Helper()
	var list []platform.Report
	for name, text := range files {
		report := platform.Report{Name: name, Display: "Title of " + name, Size: int64(len(text))}
		path := filepath.Join(r.WorkDir, filepath.FromSlash(report.Path(r.ID)))
		must(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(s.t, os.WriteFile(path, []byte(text), 0o644))
		list = append(list, report)
	}
	must(s.t, s.db.AddReports(s.t.Context(), m, list))
}

func TestReportsAreListedAndShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	r, m := s.addRun("a")
	_, page := s.get(b, ws+"/runs/"+r.ID+"/reports")
	wants(t, "the page without any", page, "There is no report", "Reports are kept when the run has ended.")
	odd := "x/odd name %25 & “?#.txt"
	s.addReports(r, m, map[string]string{"report.html": "<script>parent</script>", "counts.csv": "process,n\n<b>WEIGH</b>,3\nROW,4\n", "big.csv": "a,b\n" + strings.Repeat("1,2\n", 2000),
		odd: "some <i>text</i>", "reads.bam": "\x00", "empty.txt": "", "wide.tsv": "a\tb c\n1\t2\n"})
	must(t, s.db.AddReports(t.Context(), m, []platform.Report{{Name: "gone.txt", Size: 3}}))
	for show, texts := range map[string][]string{
		"report.html": {`<iframe class="report" sandbox="allow-scripts"`, `src="` + ws + "/runs/" + r.ID + `/reports/report.html"`},
		"counts.csv":  {`<th scope="col">process</th>`, `<td class="nowrap">&lt;b&gt;WEIGH&lt;/b&gt;</td>`},
		"big.csv":     {`<th scope="col">a</th>`, "This is the beginning."},
		"wide.tsv":    {`<th scope="col">b c</th>`},
		odd:           {"some &lt;i&gt;text&lt;/i&gt;", "Title of x/odd name"},
		"reads.bam":   {"cannot be shown here"},
		"empty.txt":   {"The report is empty."},
		"gone.txt":    {"not in the work directory any more"},
		"":            {"Title of report.html", "23 B", "Download"},
	} {
		status, page := s.get(b, ws+"/runs/"+r.ID+"/reports?"+url.Values{"show": {show}}.Encode())
		if status != http.StatusOK {
			t.Errorf("%s: %d", show, status)
		}
		wants(t, show, page, texts...)
	}
	if _, page := s.get(b, ws+"/runs/"+r.ID+"/reports?show=big.csv"); strings.Count(page, "<tr>") > 600 {
		t.Errorf("the table has %d rows", strings.Count(page, "<tr>"))
	}
	_, page = s.get(b, ws+"/runs/"+r.ID)
	wants(t, "the run's page", page, `id="reports-title"`, "Title of counts.csv")
	if status, _ := s.get(b, ws+"/runs/"+r.ID+"/reports?show=other.txt"); status != http.StatusNotFound {
		t.Errorf("a report that is none: %d", status)
	}
	file := ws + "/runs/" + r.ID + "/reports/x/" + url.PathEscape("odd name %25 & “?#.txt")
	if status, text := s.get(b, file); status != http.StatusOK || text != "some <i>text</i>" {
		t.Errorf("%s: %d %q", file, status, text)
	}
}

// TestAReportCannotTouchThePortal reads the headers with which files of strangers are sent.
func TestAReportCannotTouchThePortal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	r, m := s.addRun("a")
	other, otherMachine := s.addRun("b")
	s.addReports(r, m, map[string]string{"report.html": "<script>1</script>", "plot.svg": "<svg/>", "page.txt": "<script>1</script>", "reads.bam": "x", "paper.pdf": "%PDF", "x.xhtml": "<html/>"})
	s.addReports(other, otherMachine, map[string]string{"theirs.html": "x"})
	must(t, os.WriteFile(filepath.Join(r.WorkDir, "secret.txt"), []byte("secret"), 0o644))
	for name, want := range map[string]struct{ contentType, disposition, policy string }{
		"report.html": {"text/html; charset=utf-8", "inline", "sandbox allow-scripts; default-src 'none';"},
		"plot.svg":    {"image/svg+xml", "inline", "sandbox; default-src 'none';"},
		"page.txt":    {"text/plain; charset=utf-8", "inline", "sandbox; default-src 'none';"},
		"reads.bam":   {"application/octet-stream", "attachment", "sandbox; default-src 'none';"},
		"x.xhtml":     {"application/octet-stream", "attachment", "sandbox; default-src 'none';"},
		"paper.pdf":   {"application/pdf", "inline", "default-src 'none';"},
	} {
		for _, query := range []string{"", "?download=1"} {
			resp, err := b.Get(s.URL + ws + "/runs/" + r.ID + "/reports/" + name + query)
			must(t, err)
			resp.Body.Close()
			h, disposition := resp.Header, want.disposition
			if query != "" {
				disposition = "attachment"
			}
			if resp.StatusCode != http.StatusOK || h.Get("Content-Type") != want.contentType || h.Get("X-Content-Type-Options") != "nosniff" ||
				!strings.HasPrefix(h.Get("Content-Disposition"), disposition+"; filename=") || !strings.HasPrefix(h.Get("Content-Security-Policy"), want.policy) ||
				strings.Contains(h.Get("Content-Security-Policy"), "allow-same-origin") || len(h.Values("Content-Security-Policy")) != 1 {
				t.Errorf("%s%s: %d %v", name, query, resp.StatusCode, h)
			}
		}
	}
	for _, path := range []string{r.ID + "/reports/theirs.html", r.ID + "/reports/..%2f..%2f..%2f..%2fsecret.txt", r.ID + "/reports/../../../../secret.txt", r.ID + "/reports/", platform.NewID() + "/reports/report.html",
		r.ID + "/reports/%2e%2e/report.html", platform.NewID() + "/reports", r.ID + "/reports/report.html%00"} {
		if status, text := s.get(b, ws+"/runs/"+path); status != http.StatusNotFound || text == "secret" {
			t.Errorf("%s: %d", path, status)
		}
	}
	resp, err := b.Get(s.URL + ws + "/runs/" + r.ID + "/reports")
	must(t, err)
	resp.Body.Close()
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, contentSecurityPolicy) || !strings.HasSuffix(policy, "; frame-src 'self'") {
		t.Errorf("the page's own policy is %q", policy)
	}
	s.exec(`UPDATE runs SET workspace_id = ? WHERE id = ?`, s.otherWorkspace(), r.ID)
	for _, path := range []string{"", "/report.html"} {
		if status, _ := s.get(b, ws+"/runs/"+r.ID+"/reports"+path); status != http.StatusNotFound {
			t.Errorf("of a run in another workspace, %q: %d", path, status)
		}
	}
}
