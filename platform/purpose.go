package platform

import "context"

type purposeKey struct{}

// WithPurpose says for what credentials are used in what is done with ctx, such as "machine 3kq…".
func WithPurpose(ctx context.Context, purpose string) context.Context {
	return context.WithValue(ctx, purposeKey{}, purpose)
}

// PurposeOf is for what credentials are used; empty where nobody said.
func PurposeOf(ctx context.Context) string {
	purpose, _ := ctx.Value(purposeKey{}).(string)
	return purpose
}
