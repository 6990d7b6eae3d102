package platform

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// goodStudio is one that Clean accepts.
func goodStudio() Studio {
	return Studio{Name: " rivers ", ComputeEnvID: NewID(), Config: StudioConfig{Template: "jupyter", LifespanHours: 8, IdleMinutes: 30,
		Environment: []Env{{Name: "RIVER", Value: "thames"}}, CondaPackages: "samtools=1.21\r\nbioconda::bwa  numpy>=1.26,<3\nconda-forge/noarch::r-base=4.*",
		Mounts: []StudioMount{{"reads", " s3://rivers/reads/ "}, {"all", "s3://rivers"}}}}
}

func TestAGoodStudioIsTrimmedAndTaken(t *testing.T) {
	t.Parallel()
	s := goodStudio()
	s.Config.Image, s.Config.Port = "left/over:1", 99 // of a custom image that was entered before the template was chosen
	if err := s.Clean(ShippedTemplates()); err != nil {
		t.Fatal(err)
	}
	if s.Name != "rivers" || s.Config.Image != "" || s.Config.Port != 0 || strings.Contains(s.Config.CondaPackages, "\r") || s.Config.Mounts[0].URI != "s3://rivers/reads/" {
		t.Errorf("%+v", s)
	}
	several := goodStudio()
	several.Name, several.Description = "Größe – 流れ 👩‍🔬", "one\r\ntwo\tthree"
	if err := several.Clean(ShippedTemplates()); err != nil {
		t.Errorf("other scripts, and lines: %v", err)
	}
	custom := goodStudio()
	custom.Config.Template, custom.Config.Image = "", "docker.io/library/name:1.2@sha256:0123"
	if err := custom.Clean(ShippedTemplates()); err != nil {
		t.Errorf("a custom image: %v", err)
	}
	if got := CustomTemplate(custom.Config); got.Port != DefaultStudioPort || got.Image != custom.Config.Image {
		t.Errorf("a custom image is run as %+v", got)
	}
}

func TestWhatIsWrongWithAStudioIsToldAtItsField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", MaxStudioDescription+1)
	for name, c := range map[string]struct {
		field  string
		change func(*Studio)
	}{
		"no name":                     {"name", func(s *Studio) { s.Name = "  " }},
		"a long name":                 {"name", func(s *Studio) { s.Name = long[:2*(MaxStudioName+1)] }},
		"a long description":          {"description", func(s *Studio) { s.Description = long }},
		"a name with a NUL":           {"name", func(s *Studio) { s.Name = "a\x00b" }},
		"a name with a line end":      {"name", func(s *Studio) { s.Name = "a\nb" }},
		"a name that is turned":       {"name", func(s *Studio) { s.Name = "a\u202eb" }},
		"a name that is no text":      {"name", func(s *Studio) { s.Name = "a\xffb" }},
		"a description with a NUL":    {"description", func(s *Studio) { s.Description = "a\x00b" }},
		"an address for a package":    {"condaPackages", func(s *Studio) { s.Config.CondaPackages = "https://evil.example/a.conda" }},
		"a file for a package":        {"condaPackages", func(s *Studio) { s.Config.CondaPackages = "/tmp/a.conda" }},
		"an option behind a channel":  {"condaPackages", func(s *Studio) { s.Config.CondaPackages = "bioconda::-c" }},
		"no environment":              {"computeEnvId", func(s *Studio) { s.ComputeEnvID = "x" }},
		"an unknown template":         {"template", func(s *Studio) { s.Config.Template = "none" }},
		"neither template nor image":  {"image", func(s *Studio) { s.Config.Template = "" }},
		"an option for an image":      {"image", func(s *Studio) { s.Config.Template, s.Config.Image = "", "--privileged" }},
		"a port that is none":         {"port", func(s *Studio) { s.Config.Template, s.Config.Image, s.Config.Port = "", "a", 65536 }},
		"a lifespan of a week":        {"lifespanHours", func(s *Studio) { s.Config.LifespanHours = MaxLifespanHours + 1 }},
		"a lifespan before now":       {"lifespanHours", func(s *Studio) { s.Config.LifespanHours = -1 }},
		"idle after a minute":         {"idleMinutes", func(s *Studio) { s.Config.IdleMinutes = MinIdleMinutes - 1 }},
		"idle after days":             {"idleMinutes", func(s *Studio) { s.Config.IdleMinutes = MaxIdleMinutes + 1 }},
		"a checkpoint that is none":   {"restore", func(s *Studio) { s.Config.Restore = "../x" }},
		"a variable twice":            {"environment", func(s *Studio) { s.Config.Environment = []Env{{Name: "A"}, {Name: "A"}} }},
		"the variable of the token":   {"environment", func(s *Studio) { s.Config.Environment = []Env{{Name: "JUPYTER_TOKEN"}} }},
		"a variable of the contract":  {"environment", func(s *Studio) { s.Config.Environment = []Env{{Name: "WHERRY_STUDIO_PORT"}} }},
		"an option for a package":     {"condaPackages", func(s *Studio) { s.Config.CondaPackages = "samtools --yes" }},
		"a command for a package":     {"condaPackages", func(s *Studio) { s.Config.CondaPackages = "samtools;id" }},
		"too many packages":           {"condaPackages", func(s *Studio) { s.Config.CondaPackages = strings.Repeat("a ", MaxCondaPackages) + "b" }},
		"a mount of another cloud":    {"mounts", func(s *Studio) { s.Config.Mounts[0].URI = "gs://rivers" }},
		"a mount that climbs":         {"mounts", func(s *Studio) { s.Config.Mounts[0].URI = "s3://rivers/../x" }},
		"a folder outside":            {"mounts", func(s *Studio) { s.Config.Mounts[0].Name = "../x" }},
		"a folder that hides":         {"mounts", func(s *Studio) { s.Config.Mounts[0].Name = ".x" }},
		"two mounts of one name":      {"mounts", func(s *Studio) { s.Config.Mounts[1].Name = "reads" }},
		"more mounts than are useful": {"mounts", func(s *Studio) { s.Config.Mounts = make([]StudioMount, MaxStudioMounts+1) }},
	} {
		s := goodStudio()
		c.change(&s)
		var errs FieldErrors
		if err := s.Clean(ShippedTemplates()); !errors.As(err, &errs) || errs[c.field] == "" || len(errs) != 1 {
			t.Errorf("%s: %v, want an error at %s alone", name, err, c.field)
		}
	}
}

func TestAStudioFitsItsEnvironment(t *testing.T) {
	t.Parallel()
	here := ComputeEnv{Name: "here", Platform: PlatformLocal, Status: ComputeEnvAvailable}
	cloudy := ComputeEnv{Name: "cloudy", Platform: PlatformAWSCloud, Status: ComputeEnvAvailable}
	for name, c := range map[string]struct {
		env    ComputeEnv
		change func(*StudioConfig)
		field  string
	}{
		"a process":                   {here, func(c *StudioConfig) { c.Mounts = nil }, ""},
		"a container":                 {cloudy, func(c *StudioConfig) { c.Template = "rstudio" }, ""},
		"a container on the host":     {here, func(c *StudioConfig) { c.Mounts, c.Template = nil, "rstudio" }, "template"},
		"a custom image on the host":  {here, func(c *StudioConfig) { c.Mounts, c.Template, c.Image = nil, "", "a" }, "image"},
		"mounts on the host":          {here, func(*StudioConfig) {}, "mounts"},
		"an environment that is gone": {ComputeEnv{Name: "x", Platform: PlatformAWSCloud, Status: ComputeEnvDisabled}, func(*StudioConfig) {}, "computeEnvId"},
	} {
		s := goodStudio()
		s.Config.Spot = true
		c.change(&s.Config)
		var errs FieldErrors
		err := s.CleanFor(c.env, ShippedTemplates())
		if errors.As(err, &errs); (c.field == "") != (err == nil) || (c.field != "" && (errs[c.field] == "" || len(errs) != 1)) {
			t.Errorf("%s: %v, want an error at %q", name, err, c.field)
		}
		if s.Config.Spot != c.env.InCloud() {
			t.Errorf("%s: Spot is %v", name, s.Config.Spot)
		}
	}
}

func TestMountsAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	got := ParseMounts("reads=s3://rivers/reads\r\n\n s3://rivers/deep/er/ \ns3://rivers\n a = s3://b/c=d \ns3://b/c=d\nnonsense")
	want := []StudioMount{{"reads", "s3://rivers/reads"}, {"er", "s3://rivers/deep/er/"}, {"rivers", "s3://rivers"}, {"a", "s3://b/c=d"}, {"c=d", "s3://b/c=d"}, {"nonsense", "nonsense"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if again := ParseMounts(FormatMounts(want[:4])); !reflect.DeepEqual(again, want[:4]) {
		t.Errorf("written and read again: %+v", again)
	}
}

// TestWhoMayDoWhatWithAStudio is the table as a person would check it: look, connect, stop, edit, delete.
func TestWhoMayDoWhatWithAStudio(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		role                  Role
		shared, private, mine string
	}{
		{RoleOwner, "lcsed", "--s-d", "lcsed"}, {RoleAdmin, "lcsed", "--s-d", "lcsed"}, {RoleMaintain, "lcsed", "-----", "lcsed"},
		{RoleLaunch, "lc---", "-----", "lc---"}, {RoleConnect, "lc---", "-----", "lc---"}, {RoleView, "l----", "-----", "l----"},
	} {
		m := Member{User: User{ID: 1}, Role: c.role}
		for want, what := range map[*string]Studio{&c.shared: {UserID: 2}, &c.private: {UserID: 2, Private: true}, &c.mine: {UserID: 1, Private: true}} {
			got := []byte("-----")
			for i, may := range []bool{what.MayLook(m), what.MayConnect(m), what.MayStop(m), what.MayEdit(m), what.MayDelete(m)} {
				if may {
					got[i] = "lcsed"[i]
				}
			}
			if string(got) != *want {
				t.Errorf("%s, of user %d, private %v: %s, want %s", c.role, what.UserID, what.Private, got, *want)
			}
		}
	}
}
