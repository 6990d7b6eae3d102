package handlers

import (
	"github.com/alexedwards/argon2id"

	"wherry/platform"
)

// passwordCost is argon2id as OWASP's Password Storage Cheat Sheet recommends it, with memory to spare.
var passwordCost = &argon2id.Params{Memory: 64 << 10, Iterations: 3, Parallelism: 2, SaltLength: 16, KeyLength: 32}

// nobodysHash is compared with when there is no such user, so that the answer takes as long as for one there is.
const nobodysHash = "$argon2id$v=19$m=65536,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$pGaxd9VLbiVZYrFcz2mhCjvA6hpl8QRbyS52+XsSzLg"

// hashPassword returns what is kept of a password.
func (h *Handlers) hashPassword(password string) (hash string, err error) {
	err = h.SignIns.Hash(func() (err error) {
		hash, err = argon2id.CreateHash(platform.NormalizePassword(password), passwordCost)
		return err
	})
	return hash, err
}

// passwordIs compares a password, in the same time for a user that does not exist, may not come in, or has no password.
func (h *Handlers) passwordIs(user platform.User, password string) (right bool, err error) {
	hash := user.PasswordHash
	if hash == "" {
		hash = nobodysHash
	}
	forms := []string{platform.NormalizePassword(password)}
	if forms[0] != password {
		forms = append(forms, password) // hashes from before passwords were normalized
	}
	for _, form := range forms {
		if right {
			break
		}
		err = h.SignIns.Hash(func() (err error) {
			right, err = argon2id.ComparePasswordAndHash(form, hash)
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return right && user.PasswordHash != "" && user.Disabled.IsZero(), nil
}
