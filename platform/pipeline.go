package platform

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a saved pipeline, in characters.
const (
	MaxPipelineNameLength = 100
	MaxDescriptionLength  = 1000
)

// Pipeline is a saved launch, offered on the Launchpad. Its id is a number, as in the API.
type Pipeline struct {
	ID          int64
	WorkspaceID int64
	Name        string // unique in the workspace
	Description string
	Launch      Launch // RunName is empty: every run gets its own
	Created     time.Time
}

// Clean trims what was entered and checks it, field by field, the launch included.
func (p *Pipeline) Clean() error {
	p.Name = strings.TrimSpace(p.Name)
	p.Description = strings.TrimSpace(p.Description)
	p.Launch.RunName = ""
	errs := FieldErrors{}
	switch n := utf8.RuneCountInString(p.Name); {
	case n == 0:
		errs.Add("name", "Give the pipeline a name.")
	case n > MaxPipelineNameLength:
		errs.Add("name", "Use at most %d characters.", MaxPipelineNameLength)
	case !plain(p.Name, ""):
		errs.Add("name", notPlain)
	}
	switch {
	case utf8.RuneCountInString(p.Description) > MaxDescriptionLength:
		errs.Add("description", "Use at most %d characters.", MaxDescriptionLength)
	case !plain(p.Description, "\r\n\t"):
		errs.Add("description", notPlain)
	}
	if err, ok := p.Launch.Clean().(FieldErrors); ok {
		for field, message := range err {
			errs.Add(field, "%s", message)
		}
	}
	return errs.OrNil()
}
