package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"wherry/cloud"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func asError(t *testing.T, err error, e **cloud.Error) {
	t.Helper()
	if !errors.As(err, e) {
		t.Fatalf("%v is no *cloud.Error", err)
	}
}

func TestTheTableOfActionsIsExactlyThePublishedOne(t *testing.T) {
	t.Parallel()
	for file, p := range map[string]purpose{"create": purposeCreate, "validate": purposeValidate, "launch": purposeLaunch, "delete": purposeDelete, "read-optional": purposeRead} {
		want := published(t, file)
		var got []string
		for _, a := range actions {
			if slices.Contains(a.purposes, p) {
				got = append(got, a.permission)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the table has\n%v\nand the published policy\n%v", file, got, want)
		}
	}
}

// TestTheKeptPoliciesAreThePublishedOnes compares with the published files where they lie beside the project.
func TestTheKeptPoliciesAreThePublishedOnes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("policies/*.json")
	must(t, err)
	if len(files) != 9 {
		t.Fatalf("%d files", len(files))
	}
	for _, file := range files {
		kept, err := os.ReadFile(file)
		must(t, err)
		original, err := os.ReadFile("../../../shared/" + file)
		if errors.Is(err, os.ErrNotExist) {
			t.Skip("the published files are not beside the project")
		}
		must(t, err)
		if !bytes.Equal(kept, original) {
			t.Errorf("%s differs from what was published", file)
		}
	}
}

type policyDocument struct {
	Version   string
	Statement []struct {
		Sid, Effect string
		Action      oneOrMany[string]
		Resource    oneOrMany[string]
		Condition   map[string]map[string]string
	}
}

func parsePolicy(t *testing.T, text string) (doc policyDocument) {
	t.Helper()
	must(t, json.Unmarshal([]byte(text), &doc))
	return doc
}

func TestThePrintedPolicyAllowsEveryActionOnceForEachPurpose(t *testing.T) {
	t.Parallel()
	for bucket, wide := range map[string]bool{"": true, "rivers": false} {
		doc := parsePolicy(t, PolicyDocument(bucket, !wide))
		seen, sids := map[string]int{}, map[string]bool{}
		for _, s := range doc.Statement {
			if sids[s.Sid] || s.Effect != "Allow" || doc.Version != "2012-10-17" {
				t.Errorf("statement %q: %+v", s.Sid, s)
			}
			sids[s.Sid] = true
			for _, a := range s.Action {
				seen[a]++
				forged := strings.HasPrefix(a, "iam:") || a == "s3:GetObject"
				if forged && !wide && !strings.Contains(s.Resource[0], "TowerForge-*") && s.Resource[0] != "arn:aws:s3:::rivers/*" {
					t.Errorf("%s is not narrowed: %v", a, s.Resource)
				}
				if a == "iam:PassRole" && !wide && s.Condition["StringEquals"]["iam:PassedToService"] != "ec2.amazonaws.com" {
					t.Errorf("a role can be passed to anyone: %v", s.Condition)
				}
			}
		}
		for _, a := range actions {
			if unwanted := wide && slices.Contains(a.purposes, purposeConsole); unwanted != (seen[a.permission] == 0) {
				t.Errorf("console %v: %s stands there %d times", !wide, a.permission, seen[a.permission])
			} else if !unwanted && seen[a.permission] != len(a.purposes) {
				t.Errorf("bucket %q: %s stands there %d times", bucket, a.permission, seen[a.permission])
			}
		}
	}
}

func TestACallThatIsNotInTheTableDoesNotLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg, err := w.aws.session(t.Context(), w.creds.ID, region)
	must(t, err)
	_, err = ec2.NewFromConfig(cfg).DescribeRegions(t.Context(), &ec2.DescribeRegionsInput{})
	if err == nil || !strings.Contains(err.Error(), "not in Wherry's table") {
		t.Errorf("%v", err)
	}
	if calls := w.proxy.Calls(); len(calls) > 0 {
		t.Errorf("calls left: %v", calls)
	}
}
