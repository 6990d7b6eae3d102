package oidc

import "net/url"

// LogoutURL is where a browser goes to sign out at the provider too (OpenID Connect RP-Initiated Logout), and from there back to an
// address of the portal that is registered at the provider. It is empty while the provider is not known to offer that. It asks nobody.
func (c *Client) LogoutURL(back string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || c.known.EndSession == "" {
		return ""
	}
	u, err := url.Parse(c.known.EndSession)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return ""
	}
	query := u.Query()
	query.Set("client_id", c.config.ClientID)
	query.Set("post_logout_redirect_uri", back)
	u.RawQuery = query.Encode()
	return u.String()
}
