package platform

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// StudioTemplate is a tool that Studios are made of: a public container image, and how it is run so that it serves HTTP on a
// port. In Command, HostCommand, Environment and Authorization these words are replaced: ${PORT} (where it must listen),
// ${WORKSPACE} (the folder that is kept), ${URL} (where people open it), ${TOKEN} (a secret of the session), ${STUDIO} (its id).
type StudioTemplate struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Image       string   `json:"image"`             // pinned by a tag that is not moved, or by a digest
	Port        int      `json:"port"`              // in the container
	Command     []string `json:"command,omitempty"` // arguments of the image; none: its own
	// HostCommand runs the tool as a process, where there are no containers; none: it cannot.
	HostCommand []string          `json:"hostCommand,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	Ready       string            `json:"ready,omitempty"` // a path that answers below 500 once the tool is up; empty: /
	// Authorization is the header with which the portal comes to the tool, so that nobody else on its machine can; empty: none.
	Authorization string `json:"authorization,omitempty"`
	CondaPrefix   string `json:"condaPrefix,omitempty"` // where the image has its conda environment; empty: packages get one of their own
	GPU           bool   `json:"gpu,omitempty"`         // it makes use of GPUs
	User          string `json:"user,omitempty"`        // of the container; empty: the image's own
}

//go:embed studio_templates.json
var shippedTemplates []byte

// ShippedTemplates are the templates that Wherry brings.
func ShippedTemplates() []StudioTemplate {
	list, err := ParseTemplates(shippedTemplates)
	if err != nil {
		panic(fmt.Sprintf("studio_templates.json: %v", err)) // a test reads it
	}
	return list
}

// ParseTemplates reads a file of templates. An error says which one is wrong, and how.
func ParseTemplates(text []byte) (list []StudioTemplate, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, err
	}
	var ids []string
	for i, t := range list {
		switch {
		case !mountName.MatchString(t.ID):
			return nil, fmt.Errorf("template %d: the id %q must be letters, digits, dots, dashes and underscores", i+1, t.ID)
		case slices.Contains(ids, t.ID):
			return nil, fmt.Errorf("there are two templates of the id %q", t.ID)
		case strings.TrimSpace(t.Name) == "" || !imageName.MatchString(t.Image):
			return nil, fmt.Errorf("template %q needs a name and a container image", t.ID)
		case t.Port < 1 || t.Port > 65535:
			return nil, fmt.Errorf("template %q needs the port on which its image serves HTTP", t.ID)
		case t.Ready != "" && !strings.HasPrefix(t.Ready, "/"):
			return nil, fmt.Errorf("template %q: ready must be a path", t.ID)
		}
		ids = append(ids, t.ID)
	}
	return list, nil
}

// MergeTemplates puts others after the shipped ones; one with a known id takes its place.
func MergeTemplates(shipped, others []StudioTemplate) []StudioTemplate {
	list := slices.Clone(shipped)
	for _, t := range others {
		if i := slices.IndexFunc(list, func(s StudioTemplate) bool { return s.ID == t.ID }); i >= 0 {
			list[i] = t
		} else {
			list = append(list, t)
		}
	}
	return list
}

// FindTemplate finds a template by its id.
func FindTemplate(list []StudioTemplate, id string) (StudioTemplate, bool) {
	i := slices.IndexFunc(list, func(t StudioTemplate) bool { return t.ID == id })
	if i < 0 {
		return StudioTemplate{}, false
	}
	return list[i], true
}

// CustomTemplate is what a custom image is run as. Its contract: it serves HTTP on all addresses at the port of
// WHERRY_STUDIO_PORT, keeps its files in WHERRY_STUDIO_WORKSPACE, and is ready when GET / answers below 500.
func CustomTemplate(c StudioConfig) StudioTemplate {
	port := c.Port
	if port == 0 {
		port = DefaultStudioPort
	}
	return StudioTemplate{ID: "custom", Name: "Custom image", Image: c.Image, Port: port}
}
