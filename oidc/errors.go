package oidc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"wherry/outbound"
	"wherry/platform"
)

// maxDetails is how much of what a provider says is shown, in bytes.
const maxDetails = 500

// problem is an error for people, with details for whoever operates the portal.
func problem(code platform.Code, message, format string, args ...any) error {
	details := platform.Shorten(strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "), maxDetails)
	return platform.Errorf(code, "%s", platform.WithDetails(message, details))
}

// hide takes secrets out of what a provider said: some repeat what they were asked.
func hide(err error, secrets ...string) error {
	var told *platform.Error
	if !errors.As(err, &told) {
		return err
	}
	message := told.Message
	for _, secret := range secrets {
		if len(secret) >= 8 { // a shorter one is a word of a visitor's own
			message = strings.NewReplacer(secret, "••••", url.QueryEscape(secret), "••••").Replace(message)
		}
	}
	return platform.Errorf(told.Code, "%s", message) // a new one: the error may be everybody's
}

const again = " Start the sign-in again."

// unusable is for a provider from which nothing could be learned.
func (c *Client) unusable(err error) error {
	var other *gooidc.IssuerMismatchError
	switch {
	case errors.As(err, &other):
		return problem(platform.CodeConflict, "The sign-in provider calls itself by another name than WHERRY_OIDC_ISSUER has. Whoever operates the portal sets it to exactly that name, if it is the right provider.",
			"The setting is %q, the provider says %q.", other.Provided, other.Discovered)
	case unreachable(err):
		return c.noAnswer(err)
	}
	return problem(platform.CodeConflict, "What is at the sign-in provider's address is not an OpenID Connect provider, or it does not work. Whoever operates the portal checks WHERRY_OIDC_ISSUER and the provider.",
		"%v", err)
}

// unreachable tells whether a request had no whole answer.
func unreachable(err error) bool {
	var request *url.Error
	var network net.Error
	return errors.As(err, &request) || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded)
}

// noAnswer is for a request that had no answer, or was not made.
func (c *Client) noAnswer(err error) error {
	var refused *outbound.RefusedError
	var request *url.Error
	switch {
	case errors.As(err, &refused):
		return problem(platform.CodeConflict, "The sign-in provider is at an address to which the portal makes no requests. Whoever operates the portal sets WHERRY_OIDC_PRIVATE to true if the provider is in a private network.",
			"%v", refused)
	case errors.Is(err, outbound.ErrTooLarge):
		return problem(platform.CodeConflict, "The sign-in provider's answer is larger than one can be.", "It has more than %d bytes.", outbound.DefaultMaxBytes)
	case errors.As(err, &request): // its URL may have something in it that is nobody's business
		err = request.Err
	}
	return problem(platform.CodeNotReady, "The sign-in provider does not answer. Try again in a moment; if it lasts, tell whoever operates the portal.", "%v", err)
}

// notExchanged is for a code for which the provider gave no tokens. The answer's body is not shown: nobody knows what is in it.
func (c *Client) notExchanged(err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		if unreachable(err) || errors.Is(err, outbound.ErrTooLarge) {
			return c.noAnswer(err)
		}
		return problem(platform.CodeConflict, "The sign-in provider's answer cannot be read."+again, "The answer to the token request is not what RFC 6749 says.")
	}
	details := answer.ErrorCode + " " + answer.ErrorDescription
	if answer.Response != nil {
		details = answer.Response.Status + " " + details
	}
	switch {
	case answer.ErrorCode == "invalid_client" || answer.ErrorCode == "unauthorized_client":
		return problem(platform.CodeConflict, "The sign-in provider does not accept the portal's client ID and secret. Whoever operates the portal compares WHERRY_OIDC_CLIENT_ID and WHERRY_OIDC_CLIENT_SECRET with the provider's.", "%s", details)
	case answer.ErrorCode == "invalid_grant":
		return problem(platform.CodeUnauthorized, "The sign-in provider does not accept this answer any more: it was used before, or it is too old."+again, "%s", details)
	case answer.Response != nil && answer.Response.StatusCode >= 500:
		return problem(platform.CodeNotReady, "The sign-in provider has a fault of its own. Try again in a moment.", "%s", details)
	}
	return problem(platform.CodeConflict, "The sign-in provider did not accept the portal's request. Whoever operates the portal finds the reason in the details.", "%s", details)
}

// denied is for an error that the provider sent the browser back with (RFC 6749, 4.1.2.1, and OpenID Connect Core, 3.1.2.6).
func denied(code, description string) error {
	details := "%s %s"
	switch code {
	case "access_denied":
		return problem(platform.CodeForbidden, "The sign-in provider says that access was denied. If you did not cancel it yourself, ask whoever manages the provider to let you use the portal.", details, code, description)
	case "temporarily_unavailable", "server_error":
		return problem(platform.CodeNotReady, "The sign-in provider cannot sign anybody in at the moment. Try again in a moment.", details, code, description)
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return problem(platform.CodeUnauthorized, "The sign-in provider wants you to sign in there first."+again, details, code, description)
	case "invalid_scope":
		return problem(platform.CodeConflict, "The sign-in provider does not know what the portal asks for. Whoever operates the portal compares WHERRY_OIDC_SCOPES with the provider's scopes.", details, code, description)
	}
	return problem(platform.CodeConflict, "The sign-in provider did not sign you in. Whoever operates the portal finds the reason in the details.", details, code, description)
}
