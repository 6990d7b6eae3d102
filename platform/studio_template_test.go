package platform

import (
	"slices"
	"strings"
	"testing"
)

func TestTheShippedTemplatesAreGood(t *testing.T) {
	t.Parallel()
	list := ShippedTemplates()
	for _, id := range []string{"jupyter", "vscode", "rstudio", "desktop"} {
		if _, ok := FindTemplate(list, id); !ok {
			t.Errorf("%s is not among them", id)
		}
	}
	onHost := 0
	for _, tool := range list {
		name, tag, _ := strings.Cut(tool.Image[strings.LastIndex(tool.Image, "/")+1:], ":")
		if name == "" || tag == "" || tag == "latest" {
			t.Errorf("%s: the image %s is not pinned", tool.ID, tool.Image)
		}
		if tool.Description == "" || !strings.HasSuffix(tool.Description, ".") {
			t.Errorf("%s: the description is no sentence: %q", tool.ID, tool.Description)
		}
		command := strings.Join(append(slices.Clone(tool.Command), tool.HostCommand...), " ")
		if strings.Contains(command, "${TOKEN}") {
			t.Errorf("%s: the token would be among the arguments, where others on the machine see it", tool.ID)
		}
		if tool.OnHost() {
			onHost++
			if text := strings.Join(tool.HostCommand, " "); !strings.Contains(text, "${PORT}") || !strings.Contains(text, "127.0.0.1") || !strings.Contains(text, "${WORKSPACE}") {
				t.Errorf("%s: as a process it listens elsewhere: %s", tool.ID, text)
			}
		}
	}
	if onHost < 2 {
		t.Errorf("%d of them run as a process", onHost)
	}
}

func TestAFileOfTemplatesIsCheckedAsAWhole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[{"id":"a","name":"A","image":"a:1","port":1}]`: "",
		`{}`: "cannot unmarshal",
		`[{"id":"a","name":"A","image":"a:1","port":1,"privileged":true}]`:                            "unknown field",
		`[{"id":"a b","name":"A","image":"a:1","port":1}]`:                                            "the id",
		`[{"id":"a","name":" ","image":"a:1","port":1}]`:                                              "needs a name",
		`[{"id":"a","name":"A","image":"-a","port":1}]`:                                               "container image",
		`[{"id":"a","name":"A","image":"a:1"}]`:                                                       "the port",
		`[{"id":"a","name":"A","image":"a:1","port":1,"ready":"x"}]`:                                  "must be a path",
		`[{"id":"a","name":"A","image":"a:1","port":1,"command":["${PROT}"]}]`:                        "${PROT}",
		`[{"id":"a","name":"A","image":"a:1","port":1,"environment":{"A":"${TOKEN"}}]`:                "",
		`[{"id":"a","name":"A","image":"a:1","port":1,"authorization":"x ${token}"}]`:                 "${token}",
		`[{"id":"a","name":"A","image":"a:1","port":1},{"id":"a","name":"B","image":"b:1","port":1}]`: "two templates",
	} {
		_, err := ParseTemplates([]byte(text))
		if (want == "") != (err == nil) || (want != "" && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestTemplatesOfAnAdminComeAfterOrInPlaceOfTheShipped(t *testing.T) {
	t.Parallel()
	got := MergeTemplates([]StudioTemplate{{ID: "a"}, {ID: "b"}}, []StudioTemplate{{ID: "c"}, {ID: "a", Name: "other"}})
	if len(got) != 3 || got[0].Name != "other" || got[1].ID != "b" || got[2].ID != "c" {
		t.Errorf("%+v", got)
	}
}
