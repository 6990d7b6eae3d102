package platform

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
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

// OnHost tells whether the tool can run as a process, where there are no containers.
func (t StudioTemplate) OnHost() bool { return len(t.HostCommand) > 0 }

// TemplateWords are the words that stand as ${WORD} in a template.
var TemplateWords = []string{"PORT", "WORKSPACE", "URL", "TOKEN", "STUDIO"}

var wordForm = regexp.MustCompile(`\$\{[^}]*\}`)

// unknownWord finds something of the form ${WORD} in a template that is none of TemplateWords; "" where there is none.
func (t StudioTemplate) unknownWord() string {
	texts := slices.Concat(t.Command, t.HostCommand, []string{t.Authorization})
	for _, value := range t.Environment {
		texts = append(texts, value)
	}
	for _, word := range wordForm.FindAllString(strings.Join(texts, "\n"), -1) {
		if !slices.Contains(TemplateWords, strings.Trim(word, "${}")) {
			return word
		}
	}
	return ""
}

//go:embed studio_templates.json
var shippedTemplates []byte

// ShippedTemplates are the templates that Wherry brings, in studio_templates.json. Each tool has no sign-in of its own, because
// the portal asks who comes; JupyterLab alone can ask for a token too, with which it refuses everybody but the portal. Their
// images run as the user 1000, or begin as root and become it, and their tags are not moved by those who publish them.
//
// JupyterLab's command was tried as a process; that the images serve as they are told was not. Of them the desktop is the one
// to look at first: LinuxServer's images keep a home of their own below /config, of which nothing is kept. There is no image of
// an Xpra desktop that is both pinned and looked after, so that the desktop is KasmVNC's, which a browser shows as well.
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
		case t.unknownWord() != "":
			return nil, fmt.Errorf("template %q: nothing takes the place of %s; the words are %s", t.ID, t.unknownWord(), strings.Join(TemplateWords, ", "))
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
