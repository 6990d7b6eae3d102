package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"wherry/handlers"
	"wherry/platform"
)

// signInSettings are what an operator can set about how people sign in.
type signInSettings struct {
	sessions     platform.SessionTimes // WHERRY_SESSION_IDLE, WHERRY_SESSION_LIMIT
	secondFactor bool                  // WHERRY_REQUIRE_SECOND_FACTOR: everybody needs one
	noPasswords  bool                  // WHERRY_PASSWORDS=false: nobody signs in by password

	oidc       oidcSettings
	signUp     bool // WHERRY_OIDC_SIGN_UP: whoever the provider knows becomes a user
	trustEmail bool // WHERRY_OIDC_TRUST_EMAIL: a verified e-mail address stands for the user who has it
}

// readSignInSettings reads the variables.
func readSignInSettings() (s signInSettings, err error) {
	if s.sessions.Idle, err = sessionTime("WHERRY_SESSION_IDLE", platform.DefaultSessionTimes.Idle); err != nil {
		return s, err
	}
	if s.sessions.Limit, err = sessionTime("WHERRY_SESSION_LIMIT", platform.DefaultSessionTimes.Limit); err != nil {
		return s, err
	}
	if s.secondFactor, err = boolSetting("WHERRY_REQUIRE_SECOND_FACTOR"); err != nil {
		return s, err
	}
	return s, s.readProvider()
}

func (s *signInSettings) readProvider() (err error) {
	if s.oidc, err = readOIDCSettings(); err != nil {
		return err
	}
	if os.Getenv("WHERRY_PASSWORDS") != "" {
		passwords, err := boolSetting("WHERRY_PASSWORDS")
		if err != nil {
			return err
		}
		s.noPasswords = !passwords
	}
	if s.noPasswords && s.oidc.config.Issuer == "" {
		return errors.New("WHERRY_PASSWORDS is false, and there is no WHERRY_OIDC_ISSUER: nobody could sign in")
	}
	if s.signUp, err = boolSetting("WHERRY_OIDC_SIGN_UP"); err != nil {
		return err
	}
	s.trustEmail, err = boolSetting("WHERRY_OIDC_TRUST_EMAIL")
	return err
}

// provider is the OpenID provider as the portal at that address uses it; nil: there is none.
func (s signInSettings) provider(portalURL string) (*handlers.Provider, error) {
	client, err := s.oidc.client(portalURL)
	if client == nil || err != nil {
		return nil, err
	}
	return &handlers.Provider{Client: client, Issuer: s.oidc.config.Issuer, Name: s.oidc.name, SignUp: s.signUp, TrustEmail: s.trustEmail, Groups: true}, nil
}

func sessionTime(name string, fallback time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(envOr(name, fallback.String()))
	if err != nil || d < time.Minute {
		return 0, fmt.Errorf("%s is %q; it must be a duration of a minute or more, such as 12h", name, os.Getenv(name))
	}
	return d, nil
}
