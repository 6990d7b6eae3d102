package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/platform"
	"wherry/views"
)

// Policies shows the permission policies, narrowed to a bucket where one is given.
func (h *Handlers) Policies(c echo.Context) error {
	s, err := h.shell(c, "Permission policies", "credentials")
	if err != nil {
		return err
	}
	bucket, problem := bucketParam(c)
	list := h.policies(bucket)
	list.Problem = problem
	if isHTMX(c) {
		return render(c, http.StatusOK, views.Policies(s, list))
	}
	return render(c, http.StatusOK, views.PoliciesPage(s, list))
}

// bucketParam reads the bucket that policies are narrowed to, or tells what is wrong with it.
func bucketParam(c echo.Context) (bucket, problem string) {
	text := strings.TrimSpace(c.QueryParam("bucket"))
	if text == "" {
		return "", ""
	}
	bucket, _, ok := platform.SplitS3("s3://" + strings.TrimPrefix(text, "s3://"))
	if !ok {
		return "", "This is not the name of a bucket. The policies below are not narrowed."
	}
	return bucket, ""
}

// PolicyFile sends one permission policy as a file.
func (h *Handlers) PolicyFile(c echo.Context) error {
	bucket, problem := bucketParam(c)
	if problem != "" {
		return platform.Errorf(platform.CodeInvalid, "The policy is not narrowed, because %q is not the name of a bucket.", c.QueryParam("bucket"))
	}
	purpose := strings.TrimSuffix(c.Param("file"), ".json")
	for _, p := range h.policies(bucket).Policies {
		if p.Purpose == purpose {
			return sendDocument(c, "wherry-"+purpose+".json", p.Document)
		}
	}
	return platform.Errorf(platform.CodeNotFound, "There is no policy of this name.")
}

func sendDocument(c echo.Context, name, text string) error {
	c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, []byte(text))
}

// TrustPolicy shows the trust policy that the role of credentials needs. Who will assume it is asked of AWS beside the page.
func (h *Handlers) TrustPolicy(c echo.Context) error {
	t, err := h.trust(c)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.TrustDocument(base(c)+"/credentials/"+c.Param("credentials"), t.Principal, t.Note, t.problem, t.Document))
}

// TrustPolicyFile sends the trust policy as a file.
func (h *Handlers) TrustPolicyFile(c echo.Context) error {
	t, err := h.trust(c)
	if err != nil {
		return err
	}
	return sendDocument(c, "wherry-trust.json", t.Document)
}

type trust struct {
	cloud.Trust
	problem string
}

func (h *Handlers) trust(c echo.Context) (t trust, err error) {
	if _, err := h.credentialsParam(c); err != nil {
		return t, err
	}
	creds, err := h.useCredentials(c.Request().Context(), c.Param("credentials"))
	if err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), askLimit)
	defer cancel()
	t.Trust, err = h.Accounts[platform.PlatformAWSCloud].Trust(ctx, creds)
	if err != nil {
		t.problem = inWords(err)
	}
	return t, nil
}

// useCredentials opens credentials for a use, and writes down that they were used.
func (h *Handlers) useCredentials(ctx context.Context, id string) (platform.Credentials, error) {
	creds, err := h.DB.OpenCredentials(ctx, id)
	if err != nil {
		return creds, err
	}
	return creds, h.DB.CredentialsUsed(ctx, creds)
}

// TestCredentials asks AWS who the credentials are, and writes down whether they work.
func (h *Handlers) TestCredentials(c echo.Context) error {
	if _, err := h.credentialsParam(c); err != nil {
		return err
	}
	id := c.Param("credentials")
	token := h.Pending.start(c.Request().Context(), Member(c).User.ID, func(ctx context.Context) any { return h.identify(ctx, id) })
	return h.answerTest(c, token)
}

// CredentialsTestResult tells what a test came to, or that it goes on.
func (h *Handlers) CredentialsTestResult(c echo.Context) error {
	if _, err := h.credentialsParam(c); err != nil {
		return err
	}
	return h.answerTest(c, c.Param("token"))
}

// identified is what a test of credentials came to.
type identified struct{ arn, problem string }

func (h *Handlers) identify(ctx context.Context, id string) identified {
	creds, err := h.useCredentials(ctx, id)
	if err != nil {
		return identified{problem: inWords(err)}
	}
	who, err := h.Accounts[platform.PlatformAWSCloud].Identify(ctx, creds)
	out, status := identified{arn: who.ARN}, platform.CredentialsAvailable
	switch {
	case err != nil && cloud.KindOf(err) != cloud.KindIdentity && cloud.KindOf(err) != cloud.KindDenied:
		return identified{problem: inWords(err)} // no verdict about the credentials
	case err != nil:
		out.problem, status = inWords(err), platform.CredentialsInvalid
	}
	if err := h.DB.CredentialsTried(ctx, creds, status, out.problem); err != nil {
		h.Log.ErrorContext(ctx, "writing down a test of credentials", "credentials", id, "error", err)
	}
	return out
}

func (h *Handlers) answerTest(c echo.Context, token string) error {
	answer, done, known := h.Pending.wait(c.Request().Context(), Member(c).User.ID, token, patience)
	result, _ := answer.(identified)
	switch {
	case !known:
		result.problem = "The portal was started anew meanwhile. Test again."
	case !done:
		return render(c, http.StatusOK, views.TestPending(base(c)+"/credentials/"+c.Param("credentials")+"/test/"+token))
	}
	return h.showTest(c, result)
}

// showTest shows what a test came to, and how the credentials are since.
func (h *Handlers) showTest(c echo.Context, result identified) error {
	s, err := h.shell(c, "", "")
	if err != nil {
		return err
	}
	f := views.CredentialsForm{Now: time.Now()}
	if f.Credentials, err = h.credentialsParam(c); err != nil {
		return err
	}
	if f.UsedBy, err = h.DB.ComputeEnvsOf(c.Request().Context(), f.Credentials.ID); err != nil {
		return err
	}
	f.Credentials.Message = "" // the result says it
	return render(c, http.StatusOK, views.TestResult(s, f, result.arn, result.problem))
}

// inWords is what people are told of an error: what a platform or a rule says, with what AWS's support would ask for.
func inWords(err error) string {
	var e *cloud.Error
	switch {
	case errors.As(err, &e):
		return platform.WithDetails(e.Message, e.Details)
	case platform.ErrorCode(err) != "":
		return err.Error()
	}
	return "Something went wrong in the portal itself. Its log says what."
}
