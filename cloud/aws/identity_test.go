package aws

import (
	"fmt"
	"strings"
	"testing"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// mayAssume is what moto asks of whoever assumes a role. In AWS the role's trust is enough within an account.
const mayAssume = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}]}`

// trustFor is a role's trust policy for a principal; no External ID means no condition.
func trustFor(principal, externalID string, tagSession bool) string {
	condition := ""
	if externalID != "" {
		condition = fmt.Sprintf(`,"Condition":{"StringEquals":{"sts:ExternalId":%q}}`, externalID)
	}
	text := fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":%q},"Action":"sts:AssumeRole"%s}`, principal, condition)
	if tagSession {
		text += fmt.Sprintf(`,{"Effect":"Allow","Principal":{"AWS":%q},"Action":"sts:TagSession"}`, principal)
	}
	return `{"Version":"2012-10-17","Statement":[` + text + `]}`
}

func TestATestOfCredentialsSaysWhoTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.moto.SetPolicies(t, w.user) // to say who one is needs no permission
	who, err := w.aws.Identify(t.Context(), w.creds)
	must(t, err)
	if who.ARN != w.arn || who.Account != w.moto.Account {
		t.Errorf("they are %+v", who)
	}
}

func TestATestOfCredentialsSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wrong := w.creds
	wrong.AccessKey = "AKIAIOSFODNN7EXAMPLE"
	_, err := w.aws.Identify(t.Context(), wrong)
	says(t, kind(t, err, cloud.KindIdentity).Message, "does not know the access key")

	wrong = w.creds
	wrong.SecretKey = platform.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	_, err = w.aws.Identify(t.Context(), wrong)
	e := kind(t, err, cloud.KindIdentity)
	says(t, e.Message, "secret key does not belong")
	if strings.Contains(err.Error()+e.Details, wrong.SecretKey.Reveal()) {
		t.Error("the error holds the secret")
	}

	for code, message := range map[string]string{"SignatureDoesNotMatch": "Signature expired: 20261124T000000Z is now earlier than 20261124T001000Z", "RequestExpired": "Request has expired."} {
		w.proxy.Fail(func(awstest.Call) awstest.Fault {
			return awstest.Fault{When: awstest.Before, Kind: awstest.ErrorAnswer, Code: code, Status: 403, Message: message}
		})
		_, err = w.aws.Identify(t.Context(), w.creds)
		says(t, kind(t, err, cloud.KindIdentity).Message, "clock")
	}
}

// TestARoleIsAssumedWithItsExternalID, and a role that refuses says why: no trust, another External ID, no TagSession.
func TestARoleIsAssumedWithItsExternalID(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trust    func(w *world) string
		id, says string
	}{
		"the right one":    {func(w *world) string { return trustFor(w.arn, "right-one", true) }, "right-one", ""},
		"none asked":       {func(w *world) string { return trustFor(w.arn, "", true) }, "", ""},
		"another":          {func(w *world) string { return trustFor(w.arn, "right-one", true) }, "wrong-one", "another External ID"},
		"none where asked": {func(w *world) string { return trustFor(w.arn, "right-one", true) }, "", "another External ID"},
		"no trust":         {func(w *world) string { return trustFor("arn:aws:iam::123456789012:user/somebody", "", true) }, "", "does not let"},
		"no tags":          {func(w *world) string { return trustFor(w.arn, "right-one", false) }, "right-one", "sts:TagSession"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.moto.SetPolicies(t, w.user, append(allPublished(t), mayAssume)...)
			if name == "no tags" {
				w.proxy.Withhold("sts:TagSession")
			}
			role := "wherry-role-" + platform.NewID()
			w.creds.RoleARN = w.moto.Role(t, role, c.trust(w), allPublished(t)...)
			w.creds.ExternalID = c.id
			who, err := w.aws.Identify(t.Context(), w.creds)
			if c.says == "" {
				must(t, err)
				says(t, who.ARN, "assumed-role/"+role+"/wherry-"+w.creds.ID)
				w.assumedWithTags(t)
				return
			}
			says(t, kind(t, err, cloud.KindIdentity).Message, c.says, w.creds.RoleARN)

			w.moto.SetPolicies(t, w.user, mayAssume) // the trust policy may not be read: both causes are named
			_, err = w.aws.Identify(t.Context(), w.creds)
			says(t, kind(t, err, cloud.KindIdentity).Message, "trust policy", "External ID")
		})
	}
}

func (w *world) assumedWithTags(t *testing.T) {
	t.Helper()
	for _, c := range w.proxy.Calls() {
		if c.Operation != "AssumeRole" {
			continue
		}
		text := c.Params.Encode()
		for _, part := range []string{"wherry%3Aportal", "portal-1", "wherry%3Aworkspace", "wherry%3Acredentials", w.creds.ID} {
			if !strings.Contains(text, part) {
				t.Errorf("the session's tags do not have %s: %s", part, text)
			}
		}
		return
	}
	t.Error("no role was assumed")
}

// TestTheWholeLifeWithAnAssumedRole uses a user who may do nothing but be trusted.
func TestTheWholeLifeWithAnAssumedRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.moto.SetPolicies(t, w.user, mayAssume)
	w.creds.RoleARN = w.moto.Role(t, "wherry-role-"+platform.NewID(), trustFor(w.arn, "x-1", true), allPublished(t)...)
	w.creds.ExternalID = "x-1"
	must(t, w.aws.Validate(t.Context(), w.env))
	must(t, w.make())
	w.complete()
	must(t, w.remove())
	assumed := 0
	for _, c := range w.proxy.Calls() {
		if c.Operation == "AssumeRole" {
			assumed++
		}
	}
	if assumed != 1 {
		t.Errorf("the role was assumed %d times", assumed)
	}
}

// TestTheJumpRoleIsAssumedFirst by the portal's own identity, and the customer's role by the jump role.
func TestTheJumpRoleIsAssumedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, ownARN := w.moto.User(t, "portal-"+platform.NewID(), mayAssume)
	name := "jump-" + platform.NewID()
	jump := w.moto.Role(t, name, trustFor(ownARN, "", true), mayAssume)
	w.aws = w.portal(&own, func(c *Config) { c.JumpRoleARN = jump })
	customer := "customer-" + platform.NewID()
	w.creds = platform.Credentials{ID: w.creds.ID, Mode: platform.CredentialsRole, ExternalID: "x-2"}
	// moto takes a session for what a trust policy names only by the session's own ARN; AWS by its role's too.
	session := "arn:aws:sts::123456789012:assumed-role/" + name + "/wherry-" + w.creds.ID
	w.creds.RoleARN = w.moto.Role(t, customer, trustFor(session, "x-2", true), allPublished(t)...)
	who, err := w.aws.Identify(t.Context(), w.creds)
	must(t, err)
	says(t, who.ARN, "assumed-role/"+customer+"/")
	trust, err := w.aws.Trust(t.Context(), w.creds)
	must(t, err)
	if trust.Principal != jump {
		t.Errorf("the principal is %s", trust.Principal)
	}
	must(t, w.make())
	must(t, w.remove())
}

func TestTheTrustPolicyShownIsTheOneThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.moto.SetPolicies(t, w.user, mayAssume)
	w.creds.RoleARN, w.creds.ExternalID = "arn:aws:iam::123456789012:role/later", "x-3"
	trust, err := w.aws.Trust(t.Context(), w.creds)
	must(t, err)
	w.creds.RoleARN = w.moto.Role(t, "wherry-role-"+platform.NewID(), trust.Document, allPublished(t)...)
	_, err = w.aws.Identify(t.Context(), w.creds)
	must(t, err)
	sameJSON(t, trust.Document, trustFor(w.arn, "x-3", true))

	w.creds.ExternalID = ""
	trust, err = w.aws.Trust(t.Context(), w.creds)
	must(t, err)
	if strings.Contains(trust.Document, "Condition") {
		t.Errorf("a condition without an External ID: %s", trust.Document)
	}
}

func TestARoleWithoutAnExternalIDNeedsThePortalsSetting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, ownARN := w.moto.User(t, "portal-"+platform.NewID(), mayAssume)
	w.creds = platform.Credentials{ID: w.creds.ID, Mode: platform.CredentialsRole,
		RoleARN: w.moto.Role(t, "wherry-role-"+platform.NewID(), trustFor(ownARN, "", true), allPublished(t)...)}
	_, err := w.portal(&own).Identify(t.Context(), w.creds)
	says(t, kind(t, err, cloud.KindIdentity).Message, "TOWER_ALLOW_INSTANCE_CREDENTIALS")
	_, err = w.portal(&own, func(c *Config) { c.InstanceCredentials = true }).Identify(t.Context(), w.creds)
	must(t, err)
}

func TestATrustPolicyIsReadAsIAMWritesIt(t *testing.T) {
	t.Parallel()
	who := cloud.Identity{Account: "123456789012", ARN: "arn:aws:sts::123456789012:assumed-role/portal/session"}
	for text, want := range map[string]bool{
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/portal"},"Action":["sts:AssumeRole","sts:TagSession"]}}`: true,
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["x","123456789012"]},"Action":"sts:*"}]}`:                                              true,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}`:                                                              true,
		`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}]}`:                                                               false,
		`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`:                                  false,
	} {
		trust, ok := parseTrust(text)
		if !ok || trust.names(who, "sts:AssumeRole") != want {
			t.Errorf("%s: %v %v", text, ok, trust)
		}
	}
	if _, ok := parseTrust("not JSON"); ok {
		t.Error("nonsense was read")
	}
}

// TestARoleThatCannotBeAssumedIsSaidAtTheCredentials, wherever it comes to light.
func TestARoleThatCannotBeAssumedIsSaidAtTheCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, _ := w.moto.User(t, "portal-"+platform.NewID(), mayAssume)
	w.creds = platform.Credentials{ID: w.creds.ID, WorkspaceID: 7, Mode: platform.CredentialsRole, RoleARN: "arn:aws:iam::" + w.moto.Account + ":role/nobody-made-it", ExternalID: "wherry-1"}
	for what, c := range map[string]struct {
		own  *awstest.Key
		want string
	}{
		"no identity":        {nil, "no AWS identity of its own"},
		"a role not trusted": {&own, "does not let the role of the credentials be assumed"},
	} {
		w.aws = w.portal(c.own)
		fields, ok := w.aws.Validate(t.Context(), w.env).(platform.FieldErrors)
		if !ok || !strings.Contains(fields["credentialsId"], c.want) {
			t.Errorf("%s, when an environment is checked: %v", what, fields)
		}
		says(t, kind(t, w.make(), cloud.KindIdentity).Message, c.want)
		_, err := w.aws.Lookup(t.Context(), cloud.LookupRequest{CredentialsID: w.creds.ID, Region: region, Field: "vpcId"})
		says(t, kind(t, err, cloud.KindIdentity).Message, c.want)
	}
}
