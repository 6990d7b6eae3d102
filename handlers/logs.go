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

func (h *Handlers) logParam(c echo.Context) (platform.Run, platform.LogStream, error) {
	stream := platform.LogStream(c.Param("stream"))
	if !stream.Known() {
		return platform.Run{}, stream, platform.Errorf(platform.CodeNotFound, "A run has no log of that name.")
	}
	r, err := h.runParam(c)
	return r, stream, err
}

// LogLines sends a window on a log.
func (h *Handlers) LogLines(c echo.Context) error {
	r, stream, err := h.logParam(c)
	if err != nil {
		return err
	}
	count := min(max(1, intParam(c, "count", 500)), maxLogLines)
	lines, err := h.DB.LogLines(c.Request().Context(), r.ID, stream, intParam(c, "from", 0), int(count))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, lines)
}

// SearchLog sends the numbers of the lines that have a text in them.
func (h *Handlers) SearchLog(c echo.Context) error {
	r, stream, err := h.logParam(c)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(c.QueryParam("q"))
	if text == "" || len(text) > maxLogQuery {
		return platform.Errorf(platform.CodeInvalid, "Search for 1 to %d characters.", maxLogQuery)
	}
	limit := min(max(1, intParam(c, "limit", 1000)), maxLogMatches)
	matches, more, err := h.DB.SearchLog(c.Request().Context(), r.ID, stream, text, int(limit))
	if err != nil {
		return err
	}
	if matches == nil {
		matches = []int64{}
	}
	return c.JSON(http.StatusOK, map[string]any{"matches": matches, "more": more, "total": len(matches)})
}

// DownloadLog sends a whole log as a file.
func (h *Handlers) DownloadLog(c echo.Context) error {
	r, stream, err := h.logParam(c)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, echo.MIMETextPlainCharsetUTF8)
	header.Set(echo.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": r.Name + "-" + string(stream) + ".log"}))
	c.Response().WriteHeader(http.StatusOK)
	return h.DB.CopyLog(c.Request().Context(), c.Response(), r.ID, stream)
}
