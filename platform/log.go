package platform

// LogStream names one of the texts that a run writes.
type LogStream string

// The streams of a run.
const (
	LogOutput   LogStream = "stdout"   // what Nextflow and the pre-run and post-run scripts print
	LogNextflow LogStream = "nextflow" // .nextflow.log
)

// LogStreams lists every stream.
var LogStreams = []LogStream{LogOutput, LogNextflow}

// Known tells whether s is one of LogStreams.
func (s LogStream) Known() bool { return s == LogOutput || s == LogNextflow }

// MaxLogChunk is the most bytes that the agent sends, and the database keeps, in one chunk of a log.
const MaxLogChunk = 256 << 10

// LogLines is a window on a log. Lines are numbered from 0 and have no line end.
type LogLines struct {
	First   int64    `json:"first"`   // number of the first of Lines
	Lines   []string `json:"lines"`   // valid UTF-8; a line longer than MaxLogLine is cut, and says so
	Total   int64    `json:"total"`   // lines in the whole log now, an unfinished last one included
	Size    int64    `json:"size"`    // bytes in the whole log now
	Partial bool     `json:"partial"` // the last of Lines is the log's last and has no line end yet
}

// MaxLogLine is how many bytes of one line are shown.
const MaxLogLine = 16 << 10
