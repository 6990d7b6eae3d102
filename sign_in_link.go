package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"wherry/db"
	"wherry/platform"
)

// signInLinkLifetime is how long a sign-in link works.
const signInLinkLifetime = 15 * time.Minute

// signInLinkCommand prints a link that signs a user in, for one who has lost their password. Whoever may read the data
// folder may do that. It works beside a serving portal.
func signInLinkCommand(ctx context.Context, args []string) error {
	var removeFactor bool
	s, rest, err := readWords("sign-in-link", args, func(f *flag.FlagSet) {
		f.BoolVar(&removeFactor, "remove-second-factor", false, "turn the user's second factor off, for one who has lost it")
	})
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("name one user, by user name or e-mail address; \"wherry users list\" shows all")
	}
	d, err := s.openBeside(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	user, err := knownUser(ctx, d, rest[0])
	if err != nil {
		return err
	}
	if removeFactor {
		if err := d.RemoveSecondFactor(ctx, user.ID, ""); err != nil {
			return err
		}
	}
	if s.url == "" {
		s.url = "http://" + s.address
	}
	link, err := newSignInLink(ctx, d, s.url, user)
	if err != nil {
		return err
	}
	fmt.Println(link)
	return nil
}

// newSignInLink makes a link that signs the user in once.
func newSignInLink(ctx context.Context, d *db.DB, url string, user platform.User) (string, error) {
	token := platform.NewToken()
	if err := d.AddSignInLink(ctx, user.ID, platform.HashToken(token), time.Now().Add(signInLinkLifetime)); err != nil {
		return "", err
	}
	return url + "/sign-in/link?token=" + token, nil
}
