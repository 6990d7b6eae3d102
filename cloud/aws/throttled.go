package aws

import (
	"context"
	"errors"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"wherry/cloud"
)

// countThrottled tells of throttling. It stands behind the SDK's own retries, which hide it from everyone else as long as they help.
func (c Config) countThrottled(stack *middleware.Stack) error {
	if c.Throttled == nil {
		return nil
	}
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("wherryThrottled",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleFinalize(ctx, in)
			var api smithy.APIError
			if errors.As(err, &api) && codes[api.ErrorCode()] == cloud.KindThrottled {
				c.Throttled(awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx))
			}
			return out, metadata, err
		}), middleware.After)
}
