package handlers

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/db"
	"wherry/mask"
	"wherry/platform"
	"wherry/views"
)

const (
	tasksPerPage = 100
	// shownOfFile is how much of a task's file its page shows: the end, where errors are. In bytes.
	shownOfFile = 64 << 10
)

// Tasks shows a run's tasks: as a part for htmx, or else on a page of their own.
func (h *Handlers) Tasks(c echo.Context) error {
	r, err := h.runParam(c)
	if err != nil {
		return err
	}
	l, err := h.taskList(c, r)
	if err != nil {
		return err
	}
	if isHTMX(c) {
		return render(c, http.StatusOK, views.TaskTable(base(c)+"/runs/"+r.ID, l))
	}
	s, err := h.shell(c, "Tasks of "+r.Name, "runs")
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.TasksPage(s, r, l))
}

func (h *Handlers) taskList(c echo.Context, r platform.Run) (l views.TaskList, err error) {
	l = views.TaskList{Text: c.QueryParam("q"), Status: platform.TaskStatus(c.QueryParam("status")), Sort: c.QueryParam("sort"),
		Descending: c.QueryParam("desc") != "", Page: int(min(max(0, intParam(c, "page", 0)), 1<<20)), PageSize: tasksPerPage, Now: time.Now()}
	l.Tasks, l.Total, err = h.DB.Tasks(c.Request().Context(), r.ID, db.TaskFilter{Text: l.Text, Status: l.Status, Sort: l.Sort,
		Descending: l.Descending, Offset: l.Page * tasksPerPage, Limit: tasksPerPage})
	return l, err
}

func (h *Handlers) taskParam(c echo.Context) (r platform.Run, t platform.Task, err error) {
	if r, err = h.runParam(c); err != nil {
		return r, t, err
	}
	id, err := strconv.ParseInt(c.Param("task"), 10, 64)
	if err != nil {
		return r, t, platform.Errorf(platform.CodeNotFound, "There is no such task in this run.")
	}
	t, err = h.DB.Task(c.Request().Context(), r.ID, id)
	return r, t, err
}

// Task shows one task, with the end of one of its files.
func (h *Handlers) Task(c echo.Context) error {
	r, t, err := h.taskParam(c)
	if err != nil {
		return err
	}
	s, err := h.shell(c, string(t.Status)+" "+t.Name, "runs")
	if err != nil {
		return err
	}
	if !t.Status.Ended() {
		if err := h.live(c, &s, r.ID); err != nil {
			return err
		}
	}
	v := views.TaskView{Run: r, Task: t, File: c.QueryParam("file"), Now: time.Now()}
	if !offeredFile(v.File) {
		v.File = ".command.out"
		if t.Status == platform.TaskFailed {
			v.File = ".command.err"
		}
	}
	v.Text, v.Size, v.Note = h.endOfFile(c, r, t, v.File)
	return render(c, http.StatusOK, views.TaskPage(s, v))
}

func offeredFile(name string) bool {
	return slices.ContainsFunc(views.TaskFiles, func(f [2]string) bool { return f[0] == name })
}

// endOfFile reads the end of a task's file, or says why it cannot.
func (h *Handlers) endOfFile(c echo.Context, r platform.Run, t platform.Task, name string) (text string, size int64, note string) {
	file, err := h.openTaskFile(c, r, t, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, "This file is not there: the task has not written it, or the work directory was cleaned."
	}
	if err != nil {
		h.Log.WarnContext(c.Request().Context(), "reading a task's file", "task", t.TaskID, "file", name, "error", err)
		return "", 0, "This file cannot be read: " + err.Error()
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", 0, "This file cannot be read."
	}
	secrets, err := h.maskOf(c.Request().Context(), r)
	if err != nil {
		return "", 0, inWords(err)
	}
	before := 0
	if seeker, ok := file.(io.Seeker); ok && info.Size() > shownOfFile {
		before = int(min(info.Size()-shownOfFile, longestSecret))
		if _, err := seeker.Seek(-shownOfFile-int64(before), io.SeekEnd); err != nil {
			return "", 0, "This file cannot be read."
		}
	}
	data, err := io.ReadAll(io.LimitReader(file, shownOfFile+int64(before)))
	if err != nil {
		return "", 0, "This file cannot be read."
	}
	if len(data) == 0 {
		return "", 0, "This file is empty."
	}
	return strings.ToValidUTF8(string(maskedEnd(secrets, data, min(before, len(data)))), "\uFFFD"), info.Size(), ""
}

// openTaskFile opens a file in a task's folder, through the run's platform. Only folders in the run's work directory are
// opened: what Nextflow reports is input too.
func (h *Handlers) openTaskFile(c echo.Context, r platform.Run, t platform.Task, name string) (fs.File, error) {
	inside, ok := strings.CutPrefix(path.Clean(t.Workdir), path.Clean(r.WorkDir)+"/")
	if !ok || !offeredFile(name) {
		return nil, fs.ErrNotExist
	}
	env, err := h.DB.AnyComputeEnv(c.Request().Context(), r.ComputeEnvID)
	if err != nil {
		return nil, err
	}
	place, ok := h.Clouds[env.Platform]
	if !ok {
		return nil, cloud.Errorf(cloud.KindInvalid, nil, "This portal has no platform %q.", env.Platform)
	}
	return place.Open(c.Request().Context(), env, r.WorkDir, path.Join(inside, name))
}

// TaskFile sends a task's file as plain text.
func (h *Handlers) TaskFile(c echo.Context) error {
	r, t, err := h.taskParam(c)
	if err != nil {
		return err
	}
	name := c.Param("file")
	file, err := h.openTaskFile(c, r, t, name)
	if errors.Is(err, fs.ErrNotExist) {
		return platform.Errorf(platform.CodeNotFound, "This file is not there: the task has not written it, or the work directory was cleaned.")
	}
	var refused *cloud.Error
	if errors.As(err, &refused) {
		return platform.Errorf(platform.CodeConflict, "%s", refused.Message)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	secrets, err := h.maskOf(c.Request().Context(), r)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentDisposition, mime.FormatMediaType("inline", map[string]string{"filename": strings.TrimPrefix(name, ".") + ".txt"}))
	return c.Stream(http.StatusOK, echo.MIMETextPlainCharsetUTF8, &maskedReader{from: file, stream: mask.Stream{Mask: secrets}})
}
