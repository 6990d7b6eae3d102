package platform

// SignInMethod is how somebody proved who they are, beside a second factor.
type SignInMethod string

// The methods.
const (
	SignInBySetUp      SignInMethod = "set-up" // as the portal's first user
	SignInByPassword   SignInMethod = "password"
	SignInByLink       SignInMethod = "link"       // that whoever operates the portal printed
	SignInByInvitation SignInMethod = "invitation" // as a user who was made by it just now
	SignInByProvider   SignInMethod = "openid"     // by an OpenID Connect provider
)
