package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"wherry/handlers"
	"wherry/oidc"
	"wherry/platform"
)

// signInSettings are what an operator can set about how people sign in.
type signInSettings struct {
	sessions     platform.SessionTimes // WHERRY_SESSION_IDLE, WHERRY_SESSION_LIMIT
	secondFactor bool                  // WHERRY_REQUIRE_SECOND_FACTOR: everybody needs one
	noPasswords  bool                  // WHERRY_PASSWORDS=false: nobody signs in by password

	provider     oidc.Config // WHERRY_OIDC_*: an OpenID provider; without an issuer there is none
	providerName string      // WHERRY_OIDC_NAME: as people know it
	signUp       bool        // WHERRY_OIDC_SIGN_UP: whoever it knows becomes a user
	trustEmail   bool        // WHERRY_OIDC_TRUST_EMAIL: a verified e-mail address stands for the user who has it
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
	s.provider = oidc.Config{Issuer: os.Getenv("WHERRY_OIDC_ISSUER"), ClientID: os.Getenv("WHERRY_OIDC_CLIENT_ID"),
		ClientSecret: platform.NewSecret(os.Getenv("WHERRY_OIDC_CLIENT_SECRET")), GroupsClaim: os.Getenv("WHERRY_OIDC_GROUPS_CLAIM"),
		Scopes: strings.FieldsFunc(os.Getenv("WHERRY_OIDC_SCOPES"), func(r rune) bool { return r == ' ' || r == ',' })}
	s.providerName = envOr("WHERRY_OIDC_NAME", "single sign-on")
	if os.Getenv("WHERRY_PASSWORDS") != "" {
		passwords, err := boolSetting("WHERRY_PASSWORDS")
		if err != nil {
			return err
		}
		s.noPasswords = !passwords
	}
	for name, to := range map[string]*bool{"WHERRY_OIDC_PRIVATE": &s.provider.AllowPrivate, "WHERRY_OIDC_SIGN_UP": &s.signUp, "WHERRY_OIDC_TRUST_EMAIL": &s.trustEmail} {
		if *to, err = boolSetting(name); err != nil {
			return err
		}
	}
	if s.provider.Issuer != "" {
		check := s.provider
		check.RedirectURL = "https://portal.example.org" + handlers.CallbackPath // the portal's own address is known later
		if err := check.Check(); err != nil {
			return fmt.Errorf("WHERRY_OIDC_ISSUER is %q, and it or what belongs to it is wrong: %w", s.provider.Issuer, err)
		}
	} else if s.noPasswords {
		return errors.New("WHERRY_PASSWORDS is false, and there is no WHERRY_OIDC_ISSUER: nobody could sign in")
	}
	return nil
}

// signInProvider is the OpenID provider as the portal at that address uses it; nil: there is none.
func (s signInSettings) signInProvider(portalURL string) *handlers.Provider {
	if s.provider.Issuer == "" {
		return nil
	}
	config := s.provider
	config.RedirectURL = portalURL + handlers.CallbackPath
	return &handlers.Provider{Client: oidc.New(config), Issuer: config.Issuer, Name: s.providerName, SignUp: s.signUp, TrustEmail: s.trustEmail, Groups: config.GroupsClaim != ""}
}

func sessionTime(name string, fallback time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(envOr(name, fallback.String()))
	if err != nil || d < time.Minute {
		return 0, fmt.Errorf("%s is %q; it must be a duration of a minute or more, such as 12h", name, os.Getenv(name))
	}
	return d, nil
}
