package agent

import (
	"cmp"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"wherry/platform"
)

// foundReport is a report and where it is on the machine.
type foundReport struct {
	platform.Report
	path string
}

// nextflowReports are the reports that Nextflow makes of itself: where the agent lets it put them, unless the pipeline or
// its launch says another place, and by what in its beginning one is known there.
var nextflowReports = []struct {
	scope, file, display string
	mark                 *regexp.Regexp
}{
	{"report", "report.html", "Nextflow execution report", regexp.MustCompile(`Nextflow Workflow Report</title>`)},
	{"timeline", "timeline.html", "Nextflow timeline", regexp.MustCompile(`<h3>Processes execution timeline</h3>`)},
	{"trace", "trace.txt", "Nextflow trace", regexp.MustCompile(`^task_id\thash\tnative_id\t`)},
	{"dag", "dag.html", "Nextflow workflow graph", regexp.MustCompile(`<pre class="mermaid" style="text-align: center;">`)},
}

// findReports finds the reports of a run: Nextflow's own, in folder or where the run puts them, and those that the pipeline
// names in its tower.yml.
func findReports(folder string, files []published, wanted []wantedReport) (list []foundReport) {
	names := map[string]bool{}
	add := func(name, display, mime, path string, size int64) {
		if !names[name] {
			names[name] = true
			list = append(list, foundReport{platform.Report{Name: name, Display: display, MIMEType: cmp.Or(mime, mimeOf(name)), Size: size}, path})
		}
	}
	for _, r := range nextflowReports {
		if info, err := os.Stat(filepath.Join(folder, r.file)); err == nil && info.Mode().IsRegular() {
			add(r.file, r.display, "", filepath.Join(folder, r.file), info.Size())
		}
	}
	for _, f := range files {
		if display := nextflowsOwn(f); display != "" {
			add(f.name, display, "", f.path, f.size)
		}
		for _, w := range wanted {
			if w.pattern.MatchString("/" + f.name) {
				add(f.name, cmp.Or(w.display, path.Base(f.name)), w.mime, f.path, f.size)
				break
			}
		}
	}
	return list
}

// markWithin is how much of a file is searched for the mark of Nextflow's reports, in bytes.
const markWithin = 64 << 10

// nextflowsOwn tells which of Nextflow's reports a file is; "" for none.
func nextflowsOwn(f published) string {
	if ext := path.Ext(f.name); ext != ".html" && ext != ".txt" && ext != ".tsv" {
		return ""
	}
	file, err := os.Open(f.path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, markWithin))
	if err != nil {
		return ""
	}
	for _, r := range nextflowReports {
		if r.mark.Match(text) {
			return r.display
		}
	}
	return ""
}

// wantedReport is an entry of tower.yml.
type wantedReport struct {
	pattern       *regexp.Regexp
	display, mime string
}

// readTowerYML reads which published files the pipeline's authors want shown (Seqera Platform's documentation, "Reports").
// A file that cannot be read names none; a pattern that cannot be read is left out.
func readTowerYML(file string) (list []wantedReport) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var config struct {
		Reports map[string]struct {
			Display  string `yaml:"display"`
			MIMEType string `yaml:"mimeType"`
		} `yaml:"reports"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil
	}
	for _, glob := range slices.Sorted(maps.Keys(config.Reports)) {
		if pattern, err := globPattern(glob); err == nil {
			list = append(list, wantedReport{pattern, config.Reports[glob].Display, config.Reports[glob].MIMEType})
		}
	}
	return list
}

// projectFolder is where the pipeline's files are: the path it was launched by, or where Nextflow keeps its copy.
func projectFolder(pipeline, project, assets string) string {
	if strings.HasPrefix(pipeline, "/") {
		if info, err := os.Stat(pipeline); err == nil && !info.IsDir() {
			return filepath.Dir(pipeline)
		}
		return pipeline
	}
	for _, pattern := range []string{project, "*/" + platform.ShortPipeline(pipeline)} {
		if found, _ := filepath.Glob(filepath.Join(assets, pattern, "tower.yml")); len(found) > 0 {
			return filepath.Dir(found[0])
		}
	}
	return ""
}

// mimeTypes are of files that pipelines show. The system's own table is another on every machine.
var mimeTypes = map[string]string{".html": "text/html", ".htm": "text/html", ".txt": "text/plain", ".log": "text/plain",
	".csv": "text/csv", ".tsv": "text/tab-separated-values", ".json": "application/json", ".pdf": "application/pdf",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".svg": "image/svg+xml",
	".xml": "application/xml", ".yml": "text/yaml", ".yaml": "text/yaml", ".md": "text/markdown", ".gz": "application/gzip", ".zip": "application/zip"}

func mimeOf(name string) string {
	return cmp.Or(mimeTypes[strings.ToLower(path.Ext(name))], "application/octet-stream")
}
