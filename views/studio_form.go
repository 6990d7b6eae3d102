package views

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"wherry/platform"
	"wherry/views/components"
)

// CustomImage is the form's word for no template: a custom container image.
const CustomImage = "custom"

// StudioForm is what the form of a Studio shows: what was typed, and what is wrong with it.
type StudioForm struct {
	Studio    platform.Studio
	Template  string // the id of a template, or CustomImage; empty: none is chosen
	Endless   bool   // until it is stopped
	Templates []platform.StudioTemplate
	Envs      []platform.ComputeEnv // that take work
	OtherEnvs int                   // that take none now
	Limits    platform.Limits
	Running   int                 // Studios of the workspace that run, or are on their way
	From      platform.Checkpoint // that a new Studio begins with; the zero value: none
	Copy      bool                // the settings are those of another Studio
	Labels    LabelPicker
	Errors    platform.FieldErrors

	// As typed.
	Port, Hours, Idle, Environment, Mounts string
}

// FillStudioForm fills the form with a Studio.
func FillStudioForm(s platform.Studio) StudioForm {
	c := s.Config
	f := StudioForm{Studio: s, Template: c.Template, Endless: c.LifespanHours == 0, Hours: strconv.Itoa(platform.DefaultLifespanHours),
		Environment: platform.FormatEnvironment(c.Environment), Mounts: platform.FormatMounts(c.Mounts)}
	if c.Template == "" && c.Image != "" {
		f.Template = CustomImage
	}
	if c.Port != 0 {
		f.Port = strconv.Itoa(c.Port)
	}
	if c.LifespanHours != 0 {
		f.Hours = strconv.Itoa(c.LifespanHours)
	}
	if c.IdleMinutes != 0 {
		f.Idle = strconv.Itoa(c.IdleMinutes)
	}
	return f
}

func (f StudioForm) path(s components.Shell) string {
	if f.Studio.ID == "" {
		return s.Base() + "/studios"
	}
	return s.Base() + "/studios/" + f.Studio.ID
}

// Title heads the page.
func (f StudioForm) Title() string {
	switch {
	case f.Studio.ID != "":
		return "Edit " + f.Studio.Name
	case f.From.ID != "":
		return "Add a Studio from a checkpoint"
	}
	return "Add a Studio"
}

func inCloud(e platform.ComputeEnv) bool { return e.InCloud() }

func onHost(e platform.ComputeEnv) bool { return !e.InCloud() }

// condition holds in the browser while one of the environments that fit is chosen.
func (f StudioForm) condition(fits func(platform.ComputeEnv) bool) string {
	ids := []string{"none"}
	for _, e := range f.Envs {
		if fits(e) {
			ids = append(ids, e.ID)
		}
	}
	return "computeEnvId=" + strings.Join(ids, "|")
}

// where shows a field while one of the environments that fit is chosen. A field with an error is always shown.
func (f StudioForm) where(field string, fits func(platform.ComputeEnv) bool) templ.Attributes {
	if f.Errors[field] != "" {
		return nil
	}
	return templ.Attributes{"data-show-if": f.condition(fits)}
}

// choosing is how a choice behaves that needs a container: it can be made while the environment has them, and never where none of
// those that take work has.
func (f StudioForm) choosing(needsContainer bool) templ.Attributes {
	switch {
	case !needsContainer:
		return nil
	case len(f.Envs) > 0 && !slices.ContainsFunc(f.Envs, inCloud):
		return templ.Attributes{"disabled": true}
	}
	return templ.Attributes{"data-enable-if": f.condition(inCloud)}
}

// limitWords tells what the workspace may use.
func (f StudioForm) limitWords() string {
	var parts []string
	if f.Limits.Studios > 0 {
		parts = append(parts, fmt.Sprintf("at most %s on at once (%d now)", components.Plural(f.Limits.Studios, "Studio", "Studios"), f.Running))
	}
	if f.Limits.Instances > 0 {
		parts = append(parts, "at most "+components.Plural(f.Limits.Instances, "machine", "machines")+" at once, those of runs too")
	}
	if f.Limits.LifespanHours > 0 {
		parts = append(parts, "each stopped after at most "+components.Plural(f.Limits.LifespanHours, "hour", "hours"))
	}
	if f.Limits.MonthMicroUSD > 0 {
		parts = append(parts, platform.Money(f.Limits.MonthMicroUSD).Cents()+" in a calendar month")
	}
	if len(parts) == 0 {
		return "This workspace has no limits for Studios."
	}
	return "Limits of this workspace: " + strings.Join(parts, "; ") + "."
}

// writable tells which mounted buckets of an environment can be written.
func writable(e platform.ComputeEnv) string {
	return "In " + e.Name + " these buckets can be written: " + strings.Join(e.Buckets(), ", ") + ". All else that is mounted is read-only."
}

// moreOpen tells whether the folded part of the form has something to see.
func (f StudioForm) moreOpen() bool {
	if f.Environment+f.Mounts+f.Studio.Config.CondaPackages != "" {
		return true
	}
	return slices.ContainsFunc([]string{"environment", "mounts", "condaPackages"}, func(name string) bool { return f.Errors[name] != "" })
}
