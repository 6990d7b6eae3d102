package db

import (
	"strings"
	"testing"

	"wherry/platform"
)

// TestAnAccessTokenIsSealedKeptAndRemoved follows a token through the life of its environment.
func TestAnAccessTokenIsSealedKeptAndRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const secret = "eyJ0aWQiOjF9.a-token-that-is-nobody-s"
	e := platform.ComputeEnv{WorkspaceID: f.member.Workspace.ID, Name: "cloudy", Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work",
		Status: platform.ComputeEnvAvailable, AccessToken: platform.NewSecret(secret)}
	must(t, f.AddComputeEnv(t.Context(), &e))
	want := func(what, token string) {
		t.Helper()
		opened, err := f.OpenComputeEnv(t.Context(), e.ID)
		must(t, err)
		listed, err := f.ComputeEnv(t.Context(), e.WorkspaceID, e.ID)
		must(t, err)
		if opened.AccessToken.Reveal() != token || opened.CloudSpec().AccessToken != token || opened.HasAccessToken != (token != "") {
			t.Errorf("%s: opened %v, there %v", what, opened.AccessToken.Reveal(), opened.HasAccessToken)
		}
		if !listed.AccessToken.IsZero() || listed.HasAccessToken != (token != "") || listed.CloudSpec().AccessToken != "" {
			t.Errorf("%s: a page gets %+v", what, listed)
		}
	}
	want("after it was added", secret)
	var sealed string
	must(t, f.read.QueryRow(`SELECT access_token FROM compute_envs WHERE id = ?`, e.ID).Scan(&sealed))
	if strings.Contains(sealed, "token-that") || !strings.HasPrefix(sealed, sealVersion+".") {
		t.Errorf("the database has %q", sealed)
	}

	e, err := f.ComputeEnv(t.Context(), e.WorkspaceID, e.ID)
	must(t, err)
	must(t, f.UpdateComputeEnv(t.Context(), e, e.Status))
	want("after a change of something else", secret)
	e.AccessToken = platform.NewSecret("another")
	e.Version++
	must(t, f.UpdateComputeEnv(t.Context(), e, e.Status))
	want("after another was entered", "another")
	_, err = f.write.ExecContext(t.Context(), `UPDATE compute_envs SET access_token = ? WHERE id = ?`, sealed, f.env.ID)
	must(t, err)
	if moved, err := f.OpenComputeEnv(t.Context(), f.env.ID); platform.ErrorCode(err) != platform.CodeConflict {
		t.Errorf("a sealed token opens in another environment: %v, %v", moved.AccessToken.Reveal(), err)
	}
	e.AccessToken, e.HasAccessToken = platform.Secret{}, false
	e.Version++
	must(t, f.UpdateComputeEnv(t.Context(), e, e.Status))
	want("after it was removed", "")

	e.AccessToken = platform.NewSecret(secret)
	e.Version++
	must(t, f.UpdateComputeEnv(t.Context(), e, e.Status))
	for _, to := range []platform.ComputeEnvStatus{platform.ComputeEnvDeleting, platform.ComputeEnvDeleted} {
		must(t, f.MoveComputeEnv(t.Context(), e, to, ""))
		e.Status = to
	}
	must(t, f.read.QueryRow(`SELECT access_token FROM compute_envs WHERE id = ?`, e.ID).Scan(&sealed))
	if sealed != "" {
		t.Errorf("a deleted environment keeps %q", sealed)
	}
}
