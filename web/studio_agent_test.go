package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"wherry/db"
	"wherry/jobs"
	"wherry/platform"
)

// studioSite has a Studio whose session's machine is requested.
func studioSite(t *testing.T, config platform.StudioConfig) (s *site, studio platform.Studio, session platform.StudioSession, m platform.Machine) {
	t.Helper()
	s = newSite(t)
	s.setUp()
	s.server.API.Templates = []platform.StudioTemplate{{ID: "jupyter", Name: "JupyterLab", Image: "quay.io/jupyter:1", Port: 8888}}
	s.server.API.StudioURL = func(id string) string { return "http://" + id + ".studios" }
	studio = platform.Studio{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: "Notebook", Config: config}
	must(t, s.db.AddStudio(t.Context(), &studio))
	session, m = s.startStudio(studio)
	return s, studio, session, m
}

func (s *site) startStudio(studio platform.Studio) (platform.StudioSession, platform.Machine) {
	s.t.Helper()
	session, err := s.db.StartStudio(s.t.Context(), studio, s.member.User.ID)
	must(s.t, err)
	m, err := s.db.MachineOfStudioSession(s.t.Context(), session.ID)
	must(s.t, err)
	must(s.t, s.db.MoveMachine(s.t.Context(), m, db.Move{To: platform.MachineRequested, InstanceID: "i"}))
	m.State, m.InstanceID = platform.MachineRequested, "i"
	return session, m
}

// asAgent sends what an agent says, and reads the answer into it unless that is nil.
func (s *site) asAgent(key, path string, says, answer any) int {
	s.t.Helper()
	body, err := json.Marshal(says)
	must(s.t, err)
	req, err := http.NewRequest(http.MethodPost, s.URL+path, bytes.NewReader(body))
	must(s.t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(s.t, err)
	status, text := readAll(s.t, resp)
	if answer != nil && status == http.StatusOK {
		must(s.t, json.Unmarshal([]byte(text), answer))
	}
	return status
}

// claim claims a machine's work with a new key.
func (s *site) claim(m platform.Machine) (key string, spec platform.Spec, status int) {
	s.t.Helper()
	key = platform.NewToken()
	status = s.asAgent("", "/agent/claim", platform.ClaimRequest{MachineID: m.ID, InstanceID: "i", ClaimToken: jobs.ClaimToken(siteKey, m.ID), Key: key}, &spec)
	return key, spec, status
}

func TestAnAgentGetsItsStudio(t *testing.T) {
	t.Parallel()
	s, studio, session, m := studioSite(t, platform.StudioConfig{Template: "jupyter", LifespanHours: 3, CondaPackages: "samtools\nbioconda::bwa=1",
		Environment: []platform.Env{{Name: "A", Value: "studio's"}}, Mounts: []platform.StudioMount{{Name: "data", URI: "s3://data/x"}, {Name: "own", URI: "s3://own"}}})
	env := s.env
	env.Config.Environment = []platform.Env{{Name: "A", Value: "environment's", Head: true}, {Name: "B", Value: "b", Head: true}, {Name: "C", Value: "c", Compute: true}}
	env.Config.AllowBuckets = []string{"own"}
	must(t, s.db.UpdateComputeEnv(t.Context(), env, platform.ComputeEnvAvailable))
	_, spec, status := s.claim(m)
	if status != http.StatusOK || spec.Studio == nil || spec.WorkID() != session.ID || spec.RunID != "" || spec.Launch.WorkDir != session.WorkDir || spec.LogOffsets[platform.LogOutput] != 0 {
		t.Fatalf("%d, %+v", status, spec)
	}
	if !slices.Equal(spec.Environment, []platform.Env{{Name: "A", Value: "studio's"}, {Name: "B", Value: "b"}}) {
		t.Errorf("the environment is %v", spec.Environment)
	}
	got := *spec.Studio
	if got.StudioID != studio.ID || got.Name != "Notebook" || got.URL != "http://"+studio.ID+".studios" || got.Template.Image != "quay.io/jupyter:1" ||
		got.Token != jobs.StudioToken(siteKey, session.ID) || got.StopIn != 3*time.Hour || got.Restore != nil || len(got.Forget) != 0 ||
		!slices.Equal(got.CondaPackages, []string{"samtools", "bioconda::bwa=1"}) {
		t.Errorf("%+v", got)
	}
	if len(got.Mounts) != 2 || !got.Mounts[0].ReadOnly || got.Mounts[1].ReadOnly || got.Mounts[1].URI != "s3://own" {
		t.Errorf("the mounts are %+v", got.Mounts)
	}
	if jobs.StudioToken(siteKey, m.ID) == jobs.ClaimToken(siteKey, m.ID) {
		t.Error("a Studio's token is a claim token")
	}
}

func TestAnAgentIsToldWhatToRestoreAndWhatToForget(t *testing.T) {
	t.Parallel()
	s, studio, first, m := studioSite(t, platform.StudioConfig{Image: "custom", Port: 99})
	key, spec, _ := s.claim(m)
	if spec.Studio.Template.Port != 99 || spec.Studio.Template.Image != "custom" || spec.Studio.StopIn != 0 {
		t.Errorf("a custom image: %+v", spec.Studio)
	}
	older, newer := platform.NewID(), platform.NewID()
	for _, id := range []string{older, newer} {
		if status := s.asAgent(key, "/agent/checkpoints", []platform.CheckpointReport{{ID: id, Saved: time.Now(), Size: 1}}, nil); status != http.StatusOK {
			t.Fatalf("a checkpoint: %d", status)
		}
	}
	must(t, s.db.DeleteCheckpoint(t.Context(), studio.WorkspaceID, older))
	var ack platform.CheckpointAck
	forget := []platform.CheckpointRef{{StudioID: studio.ID, CheckpointID: older}}
	if s.asAgent(key, "/agent/checkpoints", []platform.CheckpointReport{{ID: newer}}, &ack); !slices.Equal(ack.Forget, forget) {
		t.Errorf("to forget while it runs: %+v", ack.Forget)
	}
	must(t, s.db.MoveStudioSession(t.Context(), first.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioStopped}))
	_, m = s.startStudio(studio)
	key, spec, _ = s.claim(m)
	if want := (platform.CheckpointRef{StudioID: studio.ID, CheckpointID: newer}); spec.Studio.Restore == nil || *spec.Studio.Restore != want {
		t.Errorf("to restore: %+v", spec.Studio.Restore)
	}
	if !slices.Equal(spec.Studio.Forget, forget) {
		t.Errorf("to forget: %+v", spec.Studio.Forget)
	}
	if status := s.asAgent(key, "/agent/checkpoints/removed", []string{older}, nil); status != http.StatusOK {
		t.Errorf("a removal: %d", status)
	}
	if _, spec, _ = s.claim(m); spec.Studio != nil {
		t.Error("another agent claimed the session")
	}
}

func TestAStudioWhoseTemplateIsGoneEndsInWords(t *testing.T) {
	t.Parallel()
	s, _, session, m := studioSite(t, platform.StudioConfig{Template: "forgotten"})
	if _, _, status := s.claim(m); status != http.StatusGone {
		t.Errorf("the claim: %d", status)
	}
	got, err := s.db.StudioSession(t.Context(), session.ID)
	if err != nil || got.End == nil || got.End.Reason != "This portal has no template forgotten any more. Choose another for the Studio." {
		t.Errorf("%+v, %v", got.End, err)
	}
}

// TestAStudiosAgentHearsAtOnce of a stop and of another end of its lifespan, and tells what it uses.
func TestAStudiosAgentHearsAtOnce(t *testing.T) {
	t.Parallel()
	s, studio, session, m := studioSite(t, platform.StudioConfig{Template: "jupyter", LifespanHours: 2})
	key, _, _ := s.claim(m)
	var answer platform.SyncResponse
	if status := s.asAgent(key, "/agent/sync", platform.SyncRequest{Usage: &platform.Usage{CPU: 50}}, &answer); status != http.StatusOK || answer != (platform.SyncResponse{}) {
		t.Errorf("before it runs: %d, %+v", status, answer)
	}
	if got, err := s.db.StudioSession(t.Context(), session.ID); err != nil || got.Usage.CPU != 50 {
		t.Errorf("it uses %+v, %v", got.Usage, err)
	}
	polls := 0.0
	hear := func(what string, news func() error) platform.SyncResponse {
		t.Helper()
		polls++
		heard := make(chan platform.SyncResponse, 1)
		begun := time.Now()
		go func() {
			var answer platform.SyncResponse
			s.asAgent(key, "/agent/sync", platform.SyncRequest{Wait: platform.MaxSyncWait, Usage: &platform.Usage{CPU: polls}}, &answer)
			heard <- answer
		}()
		for got := session; got.Usage.CPU != polls; { // until it listens
			var err error
			got, err = s.db.StudioSession(t.Context(), session.ID)
			must(t, err)
			time.Sleep(time.Millisecond)
		}
		must(t, news())
		answer := <-heard
		if took := time.Since(begun); took > platform.MaxSyncWait-time.Second {
			t.Errorf("%s was heard after %s", what, took)
		}
		return answer
	}
	answer = hear("the beginning of its lifespan", func() error {
		return s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning})
	})
	if answer.Cancel || answer.StopIn > 2*time.Hour || answer.StopIn < 2*time.Hour-time.Minute {
		t.Errorf("as it runs: %+v", answer)
	}
	answer = hear("a longer lifespan", func() error {
		_, err := s.db.ExtendStudio(t.Context(), studio.WorkspaceID, studio.ID, 5)
		return err
	})
	if answer.Cancel || answer.StopIn > 7*time.Hour || answer.StopIn < 7*time.Hour-time.Minute {
		t.Errorf("extended: %+v", answer)
	}
	answer = hear("a stop", func() error { return s.db.AskStudioStop(t.Context(), studio.ID, platform.StopUser, "ada") })
	if !answer.Cancel {
		t.Errorf("stopped: %+v", answer)
	}
	if status := s.asAgent(key, "/agent/reports", []platform.Report{{Name: "a.html"}}, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("reports of a Studio: %d", status)
	}
	if status := s.asAgent(key, "/api/trace/create", platform.TraceCall{}, nil); status != http.StatusNotFound {
		t.Errorf("a trace call of a Studio: %d", status)
	}
}
