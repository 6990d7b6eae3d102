package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"wherry/cloud"
	"wherry/platform"
)

// sessionLength is how long a role is assumed for: the longest that a role assumed by a role may be.
const sessionLength = time.Hour

// session is the SDK's configuration with what the credentials with that id make of their bearer.
func (a *AWS) session(ctx context.Context, credentialsID, region string) (awssdk.Config, error) {
	c, err := a.Credentials(ctx, credentialsID)
	if err != nil {
		return awssdk.Config{}, err
	}
	return a.sessionOf(ctx, c, region)
}

// sessionOf is session for credentials that are at hand. Sessions are kept until they end, so that not every question to
// AWS begins with assuming a role.
func (a *AWS) sessionOf(ctx context.Context, c platform.Credentials, region string) (awssdk.Config, error) {
	cfg, err := a.base(ctx, c, region)
	if err != nil || c.RoleARN == "" {
		return cfg, err
	}
	key := sessionKey(c)
	a.mu.Lock()
	defer a.mu.Unlock()
	provider := a.sessions[key]
	if provider == nil {
		provider = awssdk.NewCredentialsCache(a.assumed(cfg, c, c.RoleARN, c.ExternalID),
			func(o *awssdk.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
		a.sessions[key] = provider
	}
	cfg.Credentials = provider
	return cfg, nil
}

// sessionKey tells credentials from others, and from what they were before they were changed.
func sessionKey(c platform.Credentials) string {
	return fmt.Sprint(c.ID, " ", c.Updated.UnixMilli(), " ", c.AccessKey, " ", c.RoleARN, " ", c.ExternalID)
}

// base is the identity that assumes the credentials' role, or that they are by themselves: their key, the jump role, or
// the portal's own.
func (a *AWS) base(ctx context.Context, c platform.Credentials, region string) (awssdk.Config, error) {
	cfg, err := a.own(ctx, region)
	if err != nil {
		return cfg, cloud.Errorf(cloud.KindIdentity, err, "The portal's own AWS configuration cannot be read.")
	}
	switch {
	case c.Mode == platform.CredentialsKeys:
		cfg.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey.Reveal(), "")
	case c.ExternalID == "" && !a.InstanceCredentials:
		return cfg, cloud.Errorf(cloud.KindIdentity, nil, "These credentials have no External ID, and this portal does not allow that (TOWER_ALLOW_INSTANCE_CREDENTIALS). Save them again to get one.")
	case c.ExternalID != "" && a.JumpRoleARN != "":
		cfg.Credentials = awssdk.NewCredentialsCache(a.assumed(cfg, c, a.JumpRoleARN, ""))
	}
	return cfg, nil
}

// assumed assumes a role from cfg's identity. The session's name and tags say for whom, in the account's own records.
func (a *AWS) assumed(cfg awssdk.Config, c platform.Credentials, role, externalID string) awssdk.CredentialsProvider {
	return stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "wherry-" + c.ID
		o.Duration = sessionLength
		if externalID != "" {
			o.ExternalID = &externalID
		}
		for _, tag := range []platform.Label{{Name: "wherry:portal", Value: a.PortalID},
			{Name: "wherry:workspace", Value: fmt.Sprint(c.WorkspaceID)}, {Name: "wherry:credentials", Value: c.ID}} {
			o.Tags = append(o.Tags, types.Tag{Key: &tag.Name, Value: &tag.Value})
		}
	})
}

// Identify tells who the credentials are, or why they open nothing.
func (a *AWS) Identify(ctx context.Context, c platform.Credentials) (cloud.Identity, error) {
	base, err := a.base(ctx, c, homeRegion)
	if err != nil {
		return cloud.Identity{}, err
	}
	who, err := identityOf(ctx, base)
	if err != nil || c.RoleARN == "" {
		return who, a.baseError(c, err)
	}
	fresh := base
	fresh.Credentials = a.assumed(base, c, c.RoleARN, c.ExternalID)
	assumed, err := identityOf(ctx, fresh)
	if err != nil {
		return cloud.Identity{}, a.roleError(ctx, base, who, c, err)
	}
	return assumed, nil
}

// identityOf asks AWS who a configuration is, which needs no permission.
func identityOf(ctx context.Context, cfg awssdk.Config) (cloud.Identity, error) {
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return cloud.Identity{}, err
	}
	return cloud.Identity{Account: awssdk.ToString(out.Account), ARN: awssdk.ToString(out.Arn)}, nil
}

// baseError says what is wrong with the identity that would assume the role.
func (a *AWS) baseError(c platform.Credentials, err error) error {
	if err == nil || c.Mode == platform.CredentialsKeys {
		return translate(err)
	}
	if a.JumpRoleARN != "" && strings.Contains(err.Error(), a.JumpRoleARN) && hasCode(err, "AccessDenied") {
		return &cloud.Error{Kind: cloud.KindIdentity, Details: details(err),
			Message: "The portal's own identity may not assume the jump role " + a.JumpRoleARN + ". Its trust policy must allow sts:AssumeRole and sts:TagSession to the portal."}
	}
	return translate(err)
}

// roleError says why a role could not be assumed. AWS answers every such refusal with the same words, so the role's trust
// policy is looked at where the assuming identity may read it (iam:GetRole).
func (a *AWS) roleError(ctx context.Context, base awssdk.Config, who cloud.Identity, c platform.Credentials, err error) error {
	if !hasCode(err, "AccessDenied", "AccessDeniedException") {
		return translate(err)
	}
	principal := principalOf(who.ARN)
	out := &cloud.Error{Kind: cloud.KindIdentity, Details: details(err)}
	trust, readable := readTrust(ctx, base, c.RoleARN)
	switch {
	case !readable && c.ExternalID != "":
		out.Message = fmt.Sprintf("%s may not assume the role %s. Either its trust policy does not name that principal for sts:AssumeRole and sts:TagSession, or it asks for another External ID than %s. Compare it with the trust policy shown here.", principal, c.RoleARN, c.ExternalID)
	case !readable:
		out.Message = fmt.Sprintf("%s may not assume the role %s. Either its trust policy does not name that principal for sts:AssumeRole and sts:TagSession, or it asks for an External ID, and these credentials have none.", principal, c.RoleARN)
	case !trust.names(who, "sts:AssumeRole"):
		out.Message = fmt.Sprintf("The trust policy of the role %s does not let %s assume it. Add the statements shown under “Trust policy”.", c.RoleARN, principal)
	case !trust.names(who, "sts:TagSession"):
		out.Message = fmt.Sprintf("The trust policy of the role %s does not allow sts:TagSession to %s. Add the second statement shown under “Trust policy”.", c.RoleARN, principal)
	case len(trust.externalIDs) > 0 && !slices.Contains(trust.externalIDs, c.ExternalID):
		out.Message = fmt.Sprintf("The role %s asks for another External ID. Put %s into the sts:ExternalId condition of its trust policy.", c.RoleARN, orNone(c.ExternalID))
	default:
		out.Message = fmt.Sprintf("AWS does not let %s assume the role %s, though its trust policy seems to allow it. Look for a condition in the trust policy, a permissions boundary or a service control policy.", principal, c.RoleARN)
	}
	return out
}

func orNone(externalID string) string {
	if externalID == "" {
		return "no External ID"
	}
	return externalID
}

// trustPolicy is what matters of a role's trust policy.
type trustPolicy struct {
	allowed     map[string][]string // principals by action
	externalIDs []string
}

// names tells whether a policy allows an action to an identity, by its own ARN, its role's, or its account's.
func (t trustPolicy) names(who cloud.Identity, action string) bool {
	for _, allowed := range []string{action, "sts:*", "*"} {
		for _, p := range t.allowed[allowed] {
			if p == "*" || p == who.ARN || p == principalOf(who.ARN) || p == who.Account || p == "arn:aws:iam::"+who.Account+":root" {
				return true
			}
		}
	}
	return false
}

// readTrust reads a role's trust policy; false where it may not be read.
func readTrust(ctx context.Context, cfg awssdk.Config, roleARN string) (t trustPolicy, ok bool) {
	out, err := iam.NewFromConfig(cfg).GetRole(ctx, &iam.GetRoleInput{RoleName: awssdk.String(roleARN[strings.LastIndexByte(roleARN, '/')+1:])})
	if err != nil || out.Role == nil || awssdk.ToString(out.Role.Arn) != roleARN {
		return t, false
	}
	text, err := url.QueryUnescape(awssdk.ToString(out.Role.AssumeRolePolicyDocument))
	if err != nil {
		return t, false
	}
	return parseTrust(text)
}

func parseTrust(text string) (t trustPolicy, ok bool) {
	var doc struct{ Statement oneOrMany[trustStatement] }
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return t, false
	}
	t.allowed = map[string][]string{}
	for _, s := range doc.Statement {
		if s.Effect != "Allow" {
			continue
		}
		for _, action := range s.Action {
			t.allowed[action] = append(t.allowed[action], s.principals()...)
		}
		for _, condition := range s.Condition {
			t.externalIDs = append(t.externalIDs, condition["sts:ExternalId"]...)
		}
	}
	return t, true
}

type trustStatement struct {
	Effect    string
	Action    oneOrMany[string]
	Principal json.RawMessage
	Condition map[string]map[string]oneOrMany[string]
}

func (s trustStatement) principals() []string {
	var byKind struct{ AWS oneOrMany[string] }
	if err := json.Unmarshal(s.Principal, &byKind); err == nil {
		return byKind.AWS
	}
	var all string
	if err := json.Unmarshal(s.Principal, &all); err == nil {
		return []string{all}
	}
	return nil
}

// oneOrMany reads what IAM writes as one value or as a list of them.
type oneOrMany[T any] []T

func (o *oneOrMany[T]) UnmarshalJSON(text []byte) error {
	var many []T
	if err := json.Unmarshal(text, &many); err == nil {
		*o = many
		return nil
	}
	var one T
	if err := json.Unmarshal(text, &one); err != nil {
		return err
	}
	*o = []T{one}
	return nil
}

var assumedRoleARN = regexp.MustCompile(`^arn:aws:sts::([0-9]{12}):assumed-role/([^/]+)/`)

// principalOf is how a trust policy names an identity: a session of a role by the role. (The path of the role is not in
// the session's ARN; a role with one has to be named by hand.)
func principalOf(arn string) string {
	if m := assumedRoleARN.FindStringSubmatch(arn); m != nil {
		return "arn:aws:iam::" + m[1] + ":role/" + m[2]
	}
	return arn
}

// Trust returns the trust policy for the role of these credentials.
func (a *AWS) Trust(ctx context.Context, c platform.Credentials) (t cloud.Trust, err error) {
	switch {
	case c.Mode == platform.CredentialsRole && c.ExternalID != "" && a.JumpRoleARN != "":
		t.Principal, t.Note = a.JumpRoleARN, "This portal's jump role."
	default:
		t.Principal, t.Note, err = a.askPrincipal(ctx, c)
	}
	placeholder := t.Principal
	if placeholder == "" {
		placeholder = "<ARN OF WHO ASSUMES THE ROLE>"
	}
	who := map[string]any{"AWS": placeholder}
	assume := statement{Effect: "Allow", Principal: who, Action: "sts:AssumeRole"}
	if c.ExternalID != "" {
		assume.Condition = map[string]any{"StringEquals": map[string]any{"sts:ExternalId": c.ExternalID}}
	}
	t.Document = document([]statement{assume, {Effect: "Allow", Principal: who, Action: "sts:TagSession"}})
	return t, err
}

// askPrincipal asks AWS who will assume the role: the key's user, or the portal's own identity.
func (a *AWS) askPrincipal(ctx context.Context, c platform.Credentials) (principal, note string, err error) {
	note = "The identity that this portal itself has in AWS."
	if c.Mode == platform.CredentialsKeys {
		note = "The user that the access key belongs to."
	}
	base, err := a.base(ctx, c, homeRegion)
	if err != nil {
		return "", note, err
	}
	who, err := identityOf(ctx, base)
	if err != nil {
		return "", note, a.baseError(c, err)
	}
	return principalOf(who.ARN), note, nil
}

// account is the number of the account that a configuration is in.
func account(ctx context.Context, cfg awssdk.Config) (string, error) {
	who, err := identityOf(ctx, cfg)
	if err != nil {
		return "", translate(err)
	}
	if who.Account == "" {
		return "", errors.New("AWS did not tell the account's number")
	}
	return who.Account, nil
}
