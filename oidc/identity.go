package oidc

import (
	"context"
	"encoding/json"
	"net/mail"
	"strings"
	"unicode"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"wherry/platform"
)

// Identity is who a provider says has signed in. Issuer and Subject together are the person and stay so; all else may change, and
// may be somebody else's tomorrow.
type Identity struct {
	Issuer, Subject string
	Email           string // Email is empty where the provider tells none that could be one.
	EmailVerified   bool   // EmailVerified tells that the provider says that the address is the person's.
	UserName, Name  string
	Groups          []string // Groups are as the provider writes them; nil where it said nothing of groups.
}

// The bounds of an identity, in bytes and groups. That of a subject is the standard's.
const (
	maxSubject = 255
	maxEmail   = 254
	maxName    = 200
	maxGroup   = 256
	maxGroups  = 1000
)

// claims are what a provider says of a person, by name.
type claims map[string]json.RawMessage

// identity reads the ID token, and asks UserInfo for what is not in there.
func (c *Client) identity(ctx context.Context, p *provider, verified *gooidc.IDToken, token *oauth2.Token) (Identity, error) {
	said := claims{}
	if err := verified.Claims(&said); err != nil {
		return Identity{}, forged("The ID token is not an object.")
	}
	if c.missing(said) && p.UserInfoEndpoint() != "" {
		if err := c.askUserInfo(ctx, p, verified.Subject, token, said); err != nil {
			return Identity{}, err
		}
	}
	if err := c.checkGroupsAreWhole(said); err != nil {
		return Identity{}, err
	}
	groups, err := said.groups(c.config.GroupsClaim)
	if err != nil {
		return Identity{}, err
	}
	if s := verified.Subject; s == "" || len(s) > maxSubject || s != clean(s, maxSubject) {
		return Identity{}, forged("The subject is empty, longer than %d bytes, or not printable.", maxSubject)
	}
	return Identity{Issuer: c.config.Issuer, Subject: verified.Subject, Email: said.email(), EmailVerified: said.email() != "" && said.yes("email_verified"),
		UserName: said.text("preferred_username"), Name: said.text("name"), Groups: groups}, nil
}

// missing tells whether something that is wanted is not among the claims.
func (c *Client) missing(said claims) bool {
	for _, name := range []string{"email", c.config.GroupsClaim} {
		if _, there := said[name]; name != "" && !there {
			return true
		}
	}
	return false
}

// askUserInfo adds what UserInfo says to the claims. What the ID token says is signed and stays.
func (c *Client) askUserInfo(ctx context.Context, p *provider, subject string, token *oauth2.Token, said claims) error {
	answer, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil && unreachable(err) {
		return c.noAnswer(err)
	}
	if err != nil {
		// Going on would take somebody for a person without groups.
		return problem(platform.CodeConflict, "The sign-in provider did not tell what it knows of you."+again, "The answer of UserInfo cannot be used.")
	}
	if answer.Subject != subject { // OpenID Connect Core, 5.3.4
		return forged("UserInfo is about another person than the ID token.")
	}
	more := claims{}
	if err := answer.Claims(&more); err != nil {
		return forged("UserInfo is not an object.")
	}
	// An address is verified where the same answer says so, and not where another one does.
	if _, there := said["email"]; there {
		delete(more, "email_verified")
	} else {
		delete(said, "email_verified")
	}
	for name, value := range more {
		if _, there := said[name]; !there {
			said[name] = value
		}
	}
	return nil
}

// checkGroupsAreWhole finds a person with more groups than the provider puts into a token, for which Entra ID sends a reference
// in their place (OpenID Connect Core, 5.6.2). Taken for "no groups" it would put the person out of their teams.
func (c *Client) checkGroupsAreWhole(said claims) error {
	var elsewhere map[string]json.RawMessage
	json.Unmarshal(said["_claim_names"], &elsewhere) // what is not an object names nothing
	if _, there := elsewhere[c.config.GroupsClaim]; !there || said[c.config.GroupsClaim] != nil {
		return nil
	}
	return problem(platform.CodeConflict, "You are in more groups than the sign-in provider tells at once. Whoever manages the provider lets it send only the groups that are assigned to the portal.",
		"%q is in _claim_names.", c.config.GroupsClaim)
}

// groups reads a claim that is an array of texts, or one text.
func (said claims) groups(name string) ([]string, error) {
	raw := said[name]
	if name == "" || raw == nil || string(raw) == "null" {
		return nil, nil
	}
	list := []string{}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		list = append(list, one)
	} else if json.Unmarshal(raw, &list) != nil {
		return nil, problem(platform.CodeConflict, "What the sign-in provider says of your groups cannot be read. Whoever operates the portal checks WHERRY_OIDC_GROUPS_CLAIM.", "The claim %q is neither a text nor an array of texts.", name)
	}
	groups := []string{}
	for _, group := range list {
		if group == "" {
			continue
		}
		if group != clean(group, maxGroup) || len(groups) == maxGroups {
			return nil, problem(platform.CodeConflict, "What the sign-in provider says of your groups cannot be used. Whoever manages the provider lets it send fewer or shorter ones.",
				"There may be %d, each of at most %d bytes and printable.", maxGroups, maxGroup)
		}
		groups = append(groups, group)
	}
	return groups, nil
}

// text reads a claim to be shown.
func (said claims) text(name string) string {
	var text string
	json.Unmarshal(said[name], &text) // what is not a text is as none
	return strings.TrimSpace(clean(text, maxName))
}

// email reads an address, if it can be one.
func (said claims) email() string {
	var text string
	json.Unmarshal(said["email"], &text)
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Address != text || len(text) > maxEmail || clean(text, maxEmail) != text {
		return ""
	}
	return text
}

// yes reads a claim that is true, or "true" as some providers write it.
func (said claims) yes(name string) bool {
	value := string(said[name])
	return value == "true" || value == `"true"`
}

// clean drops what is not printable, and what is beyond a number of bytes.
func clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text
}
