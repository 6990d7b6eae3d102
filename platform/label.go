package platform

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// LabelKind says what a label stands on.
type LabelKind string

// The things that take labels.
const (
	LabelsPipeline   LabelKind = "pipeline"
	LabelsRun        LabelKind = "run"
	LabelsComputeEnv LabelKind = "compute-env"
	LabelsStudio     LabelKind = "studio"
)

// LabelKinds lists them all.
var LabelKinds = []LabelKind{LabelsPipeline, LabelsRun, LabelsComputeEnv, LabelsStudio}

// WorkspaceLabel is a word that a workspace's things are found by. A resource label has a value too, and becomes a tag of the
// machines that work for what it stands on. Its id is a number, as in the API.
type WorkspaceLabel struct {
	ID          int64
	WorkspaceID int64
	Name        string
	Value       string // of resource labels alone
	Resource    bool
	Default     bool // chosen in the form of a new launch, environment or Studio; of resource labels alone
	Created     time.Time
}

// Text is how people see the label.
func (l WorkspaceLabel) Text() string {
	if l.Resource {
		return l.Name + "=" + l.Value
	}
	return l.Name
}

// Tag is what a resource label becomes in an account.
func (l WorkspaceLabel) Tag() Label { return Label{l.Name, l.Value} }

// MaxLabelsOn is how many labels one thing has.
const MaxLabelsOn = 50

// Clean trims what was entered and checks it, field by field. Simple labels keep to the same characters as those that become tags.
func (l *WorkspaceLabel) Clean() error {
	l.Name, l.Value = strings.TrimSpace(l.Name), strings.TrimSpace(l.Value)
	if !l.Resource {
		l.Value, l.Default = "", false
	}
	errs := FieldErrors{}
	checkTagName(errs, "name", l.Name)
	if utf8.RuneCountInString(l.Value) > maxTagValue || !labelForm.MatchString(l.Value) {
		errs.Add("value", "Use at most %d letters, digits, spaces and _ . : / = + - @.", maxTagValue)
	}
	return errs.OrNil()
}

// Of tags in AWS (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions), in characters.
const (
	maxTagName  = 128
	maxTagValue = 256
	maxTags     = 50 // of one resource
	ownTags     = 8  // that Wherry itself gives a machine, at most (cloud/aws machineTags)
)

func checkTagName(errs FieldErrors, field, name string) {
	lower := strings.ToLower(name)
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		errs.Add(field, "Give the label a name.")
	case n > maxTagName || !labelForm.MatchString(name):
		errs.Add(field, "Use at most %d letters, digits, spaces and _ . : / = + - @.", maxTagName)
	case reservedTag(lower):
		errs.Add(field, "%s is set by AWS or Wherry itself: choose another name.", name)
	}
}

// reservedTag tells whether a tag's name, in small letters, is not for people.
func reservedTag(lower string) bool {
	return lower == "name" || strings.HasPrefix(lower, "aws:") || strings.HasPrefix(lower, "wherry:")
}

// MachineTags are the tags of a machine beside Wherry's own: those of its environment, and over them those of its work. Names that
// differ in capitals alone are one, because not all of AWS tells them apart.
func MachineTags(env, work []Label) []Label {
	tags := make([]Label, 0, len(env)+len(work))
	at := map[string]int{}
	for _, l := range slices.Concat(env, work) {
		lower := strings.ToLower(l.Name)
		i, there := at[lower]
		if there {
			tags[i] = l
			continue
		}
		at[lower] = len(tags)
		tags = append(tags, l)
	}
	return tags
}

// Tags are the tags that resource labels become, in their order.
func Tags(labels []WorkspaceLabel) (tags []Label) {
	for _, l := range labels {
		if l.Resource {
			tags = append(tags, l.Tag())
		}
	}
	return tags
}

// CheckLabels tells what is wrong with the labels of a thing whose machines are in an environment that has these tags.
func CheckLabels(env []Label, labels []WorkspaceLabel) error {
	if len(labels) > MaxLabelsOn {
		return Errorf(CodeInvalid, "Choose at most %d labels.", MaxLabelsOn)
	}
	seen := map[string]string{}
	for _, t := range Tags(labels) {
		lower := strings.ToLower(t.Name)
		if other, ok := seen[lower]; ok {
			return Errorf(CodeInvalid, "%s and %s=%s have one name, and a machine has one tag of a name: choose one of them.", other, t.Name, t.Value)
		}
		seen[lower] = t.Name + "=" + t.Value
	}
	if n := len(MachineTags(env, Tags(labels))); n > maxTags-ownTags {
		return Errorf(CodeInvalid, "AWS takes %d tags of a machine, and Wherry has up to %d of its own. With those of the compute environment these are %d: choose fewer resource labels.", maxTags, ownTags, n)
	}
	return nil
}
