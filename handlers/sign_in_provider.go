package handlers

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/oidc"
	"wherry/platform"
	"wherry/views"
)

// Provider is the OpenID provider by which people can sign in.
type Provider struct {
	Client *oidc.Client
	Issuer string
	Name   string // as people know it
	// SignUp lets whoever the provider knows become a user; otherwise only who is invited.
	SignUp bool
	// TrustEmail lets a verified e-mail address stand for the user who has it here.
	TrustEmail bool
	// Groups tells whether the provider says in which groups somebody is.
	Groups bool
}

// CallbackPath is where the provider sends browsers back to.
const CallbackPath = "/sign-in/oidc/callback"

var errNoProvider = platform.Errorf(platform.CodeNotFound, "This portal has no identity provider to sign in by.")

// ProviderSignIn leads to the provider. Who was led here by another site's page has not asked for it, and is shown the page that asks.
func (h *Handlers) ProviderSignIn(c echo.Context) error {
	if fromElsewhere(c) {
		return c.Redirect(http.StatusSeeOther, "/sign-in?"+url.Values{"next": {localPath(c.QueryParam("next"))}}.Encode())
	}
	return h.toProvider(c, startedSignIn{next: localPath(c.QueryParam("next"))})
}

// LinkProvider leads who is signed in to the provider, to link what they are there. Only the account's own page leads here: a link of
// somebody else's could have a browser that they have signed in there link their identity to this user. No form can, because browsers
// hold form-action against what its answer redirects to.
func (h *Handlers) LinkProvider(c echo.Context) error {
	path := views.LinkPath(CSRF(c))
	if fromElsewhere(c) || subtle.ConstantTimeCompare([]byte(c.Request().URL.RequestURI()), []byte(path)) != 1 {
		return redirect(c, "/account", "")
	}
	if !h.fresh(c) {
		return h.askToConfirm(c, path)
	}
	user, _ := User(c)
	return h.toProvider(c, startedSignIn{linkTo: user.ID})
}

// fromElsewhere tells whether a page of another origin, a Studio's too, led the browser here.
func fromElsewhere(c echo.Context) bool {
	site := c.Request().Header.Get("Sec-Fetch-Site")
	return site == "cross-site" || site == "same-site"
}

func (h *Handlers) toProvider(c echo.Context, started startedSignIn) error {
	if h.Provider == nil {
		return errNoProvider
	}
	address, flow, err := h.Provider.Client.Begin(c.Request().Context())
	if err != nil {
		return err
	}
	started.flow = &flow
	h.start(c, started)
	return c.Redirect(http.StatusSeeOther, address)
}

// ProviderCallback takes whom the provider sends back.
func (h *Handlers) ProviderCallback(c echo.Context) error {
	if h.Provider == nil {
		return errNoProvider
	}
	started, ok := h.startedHere(c)
	h.endStarted(c)
	if !ok || started.flow == nil {
		return platform.Errorf(platform.CodeGone, "This sign-in was not begun in this browser, or took too long. Go to the start page and begin again.")
	}
	ctx := c.Request().Context()
	who, err := h.Provider.Client.Finish(ctx, *started.flow, c.QueryParams())
	if err != nil {
		message, _ := platform.SplitDetails(err.Error())
		return joinErr(err, h.DB.SignInFailed(ctx, platform.User{}, "(identity provider)", message))
	}
	if started.linkTo != 0 {
		return h.linkIdentity(c, started.linkTo, who)
	}
	user, err := h.userOf(ctx, who)
	if platform.ErrorCode(err) == platform.CodeForbidden {
		if err := h.DB.SignInFailed(ctx, platform.User{}, who.Email, "no user of this identity"); err != nil {
			return err
		}
		return h.showSignIn(c, http.StatusForbidden, views.SignIn{Next: started.next, Error: err.Error()})
	}
	if err != nil {
		return err
	}
	if h.Provider.Groups && user.Disabled.IsZero() {
		if err := h.DB.FollowGroups(asUser(ctx, user), user, who.Groups); err != nil {
			return err
		}
	}
	return h.signIn(c, user, platform.SignInByProvider, started.next)
}

// joinErr is the first error, unless the second is one that the first must not hide.
func joinErr(err, worse error) error {
	if worse != nil {
		return worse
	}
	return err
}

// asUser says to the audit log that a user does what follows, who is about to be signed in.
func asUser(ctx context.Context, user platform.User) context.Context {
	a := platform.ActorOf(ctx)
	a.Kind, a.UserID, a.UserName = platform.ActorUser, user.ID, user.UserName
	return platform.WithActor(ctx, a)
}

// linkIdentity links what somebody is at the provider to the user who asked for it, and is still signed in.
func (h *Handlers) linkIdentity(c echo.Context, userID int64, who oidc.Identity) error {
	if user, ok := User(c); !ok || user.ID != userID {
		return platform.Errorf(platform.CodeUnauthorized, "You are not signed in any more as who you were when you began to link. Sign in and begin again.")
	}
	ctx := c.Request().Context()
	if known, err := h.DB.UserByIdentity(ctx, who.Issuer, who.Subject); err == nil && known.ID == userID {
		return redirect(c, "/account", "identity-linked")
	}
	if err := h.DB.LinkIdentity(ctx, platform.Identity{Issuer: who.Issuer, Subject: who.Subject, UserID: userID}); err != nil {
		return err
	}
	if err := h.RenewSession(c); err != nil {
		return err
	}
	return redirect(c, "/account", "identity-linked")
}

// userOf finds the user that somebody is whom the provider knows, or makes one where that is allowed. CodeForbidden says why
// neither, and whom to ask.
func (h *Handlers) userOf(ctx context.Context, who oidc.Identity) (platform.User, error) {
	user, err := h.DB.UserByIdentity(ctx, who.Issuer, who.Subject)
	if err == nil || platform.ErrorCode(err) != platform.CodeNotFound {
		return user, err
	}
	email := strings.ToLower(who.Email)
	if email == "" || !who.EmailVerified || platform.CheckEmail(email) != nil {
		return user, platform.Errorf(platform.CodeForbidden, "%s knows you, but does not vouch for your e-mail address, so that no user here can be yours. If you have one, sign in by your password and link %s under “Your account”. Else ask whoever manages %s to verify your address.",
			h.Provider.Name, h.Provider.Name, h.Provider.Name)
	}
	identity := platform.Identity{Issuer: who.Issuer, Subject: who.Subject}
	if user, err = h.DB.UserByLogin(ctx, email); err == nil && user.Email == email {
		// Who has typed somebody else's address would be given their identity, and keep a password to what they do from then on.
		if !h.Provider.TrustEmail || user.EmailChosen {
			return user, platform.Errorf(platform.CodeForbidden, "There is a user with your e-mail address here, and that you are the same has to be shown once. Sign in by your password, or by a link that whoever operates this portal prints, and link %s under “Your account”.", h.Provider.Name)
		}
		identity.UserID = user.ID
		return user, h.DB.LinkIdentity(asUser(ctx, user), identity)
	}
	if err != nil && platform.ErrorCode(err) != platform.CodeNotFound {
		return user, err
	}
	invited, err := h.DB.InvitationIsOpenFor(ctx, email)
	if err != nil {
		return user, err
	}
	if !invited && !h.Provider.SignUp {
		return user, platform.Errorf(platform.CodeForbidden, "%s knows you as %s, but this portal has no user of yours. Ask an owner of the organization that you work with here to invite you by that address.", h.Provider.Name, email)
	}
	return h.DB.AddUserByIdentity(ctx, identity, platform.UserNameFrom(who.UserName, email), email)
}

// UnlinkProvider takes the link to the provider away, where another way to sign in is left.
func (h *Handlers) UnlinkProvider(c echo.Context) error {
	if h.Provider == nil {
		return errNoProvider
	}
	if !h.fresh(c) {
		return h.askToConfirm(c, "/account")
	}
	user, _ := User(c)
	if user.PasswordHash == "" || h.NoPasswords {
		return platform.Errorf(platform.CodeConflict, "You sign in by %s alone, and could not come in any more without it. Set a password first, if this portal takes passwords.", h.Provider.Name)
	}
	if err := h.DB.UnlinkIdentities(c.Request().Context(), user.ID, h.Provider.Issuer); err != nil {
		return err
	}
	return redirect(c, "/account", "identity-unlinked")
}
