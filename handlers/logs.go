package handlers

import (
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/platform"
)

// Limits of what the log viewer may ask for at once.
const (
	maxLogLines   = 2000
	maxLogMatches = 5000
	maxLogQuery   = 200 // characters
)

// logOf is a log that a path names.
type logOf struct {
	workID string // of a run, or of a session of a Studio
	stream platform.LogStream
	file   string // what the log is called when it is downloaded, without the stream
}

// runLog finds the log of a run.
func (h *Handlers) runLog(c echo.Context) (logOf, error) {
	stream := platform.LogStream(c.Param("stream"))
	if !stream.Known() {
		return logOf{}, platform.Errorf(platform.CodeNotFound, "A run has no log of that name.")
	}
	r, err := h.runParam(c)
	return logOf{r.ID, stream, r.Name}, err
}

// studioLog finds the log of a session of a Studio, for who may see it.
func (h *Handlers) studioLog(c echo.Context) (logOf, error) {
	if stream := platform.LogStream(c.Param("stream")); stream != platform.LogOutput {
		return logOf{}, platform.Errorf(platform.CodeNotFound, "A Studio has no log of that name.")
	}
	s, err := h.studioToLookAt(c)
	if err != nil {
		return logOf{}, err
	}
	session, err := h.sessionParam(c, s)
	return logOf{session.ID, platform.LogOutput, s.Name + "-" + session.ID}, err
}

// LogLines sends a window on a run's log.
func (h *Handlers) LogLines(c echo.Context) error { return h.logLines(c, h.runLog) }

// StudioLogLines sends a window on the log of a Studio's session.
func (h *Handlers) StudioLogLines(c echo.Context) error { return h.logLines(c, h.studioLog) }

func (h *Handlers) logLines(c echo.Context, find func(echo.Context) (logOf, error)) error {
	log, err := find(c)
	if err != nil {
		return err
	}
	count := min(max(1, intParam(c, "count", 500)), maxLogLines)
	lines, err := h.DB.LogLines(c.Request().Context(), log.workID, log.stream, intParam(c, "from", 0), int(count))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, lines)
}

// SearchLog sends the numbers of the lines of a run's log that have a text in them.
func (h *Handlers) SearchLog(c echo.Context) error { return h.searchLog(c, h.runLog) }

// SearchStudioLog is SearchLog for a session of a Studio.
func (h *Handlers) SearchStudioLog(c echo.Context) error { return h.searchLog(c, h.studioLog) }

func (h *Handlers) searchLog(c echo.Context, find func(echo.Context) (logOf, error)) error {
	log, err := find(c)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(c.QueryParam("q"))
	if text == "" || len(text) > maxLogQuery {
		return platform.Errorf(platform.CodeInvalid, "Search for 1 to %d characters.", maxLogQuery)
	}
	limit := min(max(1, intParam(c, "limit", 1000)), maxLogMatches)
	matches, more, err := h.DB.SearchLog(c.Request().Context(), log.workID, log.stream, text, int(limit))
	if err != nil {
		return err
	}
	if matches == nil {
		matches = []int64{}
	}
	return c.JSON(http.StatusOK, map[string]any{"matches": matches, "more": more, "total": len(matches)})
}

// DownloadLog sends a run's whole log as a file.
func (h *Handlers) DownloadLog(c echo.Context) error { return h.downloadLog(c, h.runLog) }

// DownloadStudioLog is DownloadLog for a session of a Studio.
func (h *Handlers) DownloadStudioLog(c echo.Context) error { return h.downloadLog(c, h.studioLog) }

func (h *Handlers) downloadLog(c echo.Context, find func(echo.Context) (logOf, error)) error {
	log, err := find(c)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, echo.MIMETextPlainCharsetUTF8)
	header.Set(echo.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": log.file + "-" + string(log.stream) + ".log"}))
	c.Response().WriteHeader(http.StatusOK)
	return h.DB.CopyLog(c.Request().Context(), c.Response(), log.workID, log.stream)
}
