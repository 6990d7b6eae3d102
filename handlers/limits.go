package handlers

import (
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// LimitsForm shows what the workspace may use, beside what it uses.
func (h *Handlers) LimitsForm(c echo.Context) error {
	limits, err := h.DB.Limits(c.Request().Context(), Member(c).Workspace.ID)
	if err != nil {
		return err
	}
	return h.showLimits(c, http.StatusOK, views.FillLimitsForm(limits))
}

// SetLimits saves what the workspace may use. Machines that wait for a place are looked at at once.
func (h *Handlers) SetLimits(c echo.Context) error {
	typed := func(name string) string { return strings.TrimSpace(c.FormValue(name)) }
	f := views.LimitsForm{Instances: typed("instances"), MonthUSD: typed("monthUsd"), Studios: typed("studios"), LifespanHours: typed("lifespanHours"), Errors: platform.FieldErrors{}}
	limits := readLimits(f)
	errs, err := fieldErrors(limits.Clean())
	if err != nil {
		return err
	}
	maps.Copy(f.Errors, errs)
	if len(f.Errors) > 0 {
		return h.showLimits(c, http.StatusUnprocessableEntity, f)
	}
	if err := h.DB.SetLimits(c.Request().Context(), Member(c).Workspace.ID, limits); err != nil {
		return err
	}
	return redirect(c, base(c)+"/limits", "limits-saved")
}

// usdForm is an amount as people type it: dollars, and cents if they want.
var usdForm = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,2})?$`)

// readLimits reads what was typed; what cannot be read is in f.Errors then. Zero is refused: it would mean no limit, and who
// types it means the opposite.
func readLimits(f views.LimitsForm) (l platform.Limits) {
	l.Instances = readLimit(f.Errors, "instances", f.Instances, "a number", platform.MaxInstances)
	l.Studios = readLimit(f.Errors, "studios", f.Studios, "a number", platform.MaxInstances)
	l.LifespanHours = readLimit(f.Errors, "lifespanHours", f.LifespanHours, "hours", platform.MaxLifespanHours)
	if f.MonthUSD != "" {
		amount := strings.TrimPrefix(strings.ReplaceAll(f.MonthUSD, ",", ""), "$")
		dollars, err := strconv.ParseFloat(amount, 64)
		if err != nil || !usdForm.MatchString(amount) || dollars == 0 {
			f.Errors.Add("monthUsd", "Enter an amount in US dollars, such as 250 or 99.50, or leave this empty for no limit.")
			return l
		}
		l.MonthMicroUSD = int64(platform.USD(dollars))
	}
	return l
}

// readLimit reads a limit that is a whole number; nothing is 0.
func readLimit(errs platform.FieldErrors, field, text, what string, most int) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		errs.Add(field, "Enter %s from 1 to %d, or leave this empty for no limit. To let nothing start, disable the compute environments.", what, most)
	}
	return n
}

func (h *Handlers) showLimits(c echo.Context, status int, f views.LimitsForm) error {
	s, err := h.shell(c, "Limits", "limits")
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	machines, err := h.DB.RunningMachines(ctx, s.Member.Workspace.ID)
	if err != nil {
		return err
	}
	if f.Usage, err = h.usage(ctx, s.Member.Workspace.ID, machines, time.Now()); err != nil {
		return err
	}
	return render(c, status, views.LimitsPage(s, f))
}
