package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"wherry/cloud"
)

// codes sorts the error codes of AWS by what they mean. Sources: the common errors and the error codes of the EC2, IAM and
// STS API references, and the SDK's own list of throttling codes.
var codes = map[string]cloud.Kind{
	"Throttling": cloud.KindThrottled, "ThrottlingException": cloud.KindThrottled, "ThrottledException": cloud.KindThrottled,
	"RequestThrottled": cloud.KindThrottled, "RequestThrottledException": cloud.KindThrottled, "RequestLimitExceeded": cloud.KindThrottled,
	"TooManyRequestsException": cloud.KindThrottled, "SlowDown": cloud.KindThrottled, "EC2ThrottledException": cloud.KindThrottled,

	"AccessDenied": cloud.KindDenied, "AccessDeniedException": cloud.KindDenied, "UnauthorizedOperation": cloud.KindDenied,
	"Client.UnauthorizedOperation": cloud.KindDenied, "NotAuthorized": cloud.KindDenied,

	"InvalidClientTokenId": cloud.KindIdentity, "AuthFailure": cloud.KindIdentity, "SignatureDoesNotMatch": cloud.KindIdentity,
	"InvalidAccessKeyId": cloud.KindIdentity, "UnrecognizedClientException": cloud.KindIdentity, "IncompleteSignature": cloud.KindIdentity,
	"InvalidSignatureException": cloud.KindIdentity, "ExpiredToken": cloud.KindIdentity, "ExpiredTokenException": cloud.KindIdentity,
	"RequestExpired": cloud.KindIdentity, "RequestTimeTooSkewed": cloud.KindIdentity, "OptInRequired": cloud.KindIdentity,

	"InternalError": cloud.KindTransient, "InternalFailure": cloud.KindTransient, "ServiceUnavailable": cloud.KindTransient,
	"ServiceFailure": cloud.KindTransient, "Unavailable": cloud.KindTransient, "ConcurrentModification": cloud.KindTransient,
	"EntityTemporarilyUnmodifiable": cloud.KindTransient,
	"InsufficientInstanceCapacity":  cloud.KindCapacity, "InsufficientHostCapacity": cloud.KindCapacity, "InsufficientCapacity": cloud.KindCapacity,
	"InsufficientCapacityOnHost": cloud.KindCapacity, "InsufficientReservedInstanceCapacity": cloud.KindCapacity,
	"UnfulfillableCapacity": cloud.KindCapacity, "SpotMaxPriceTooLow": cloud.KindCapacity, "InsufficientFreeAddressesInSubnet": cloud.KindCapacity,
	"InsufficientAddressCapacity": cloud.KindCapacity, "VcpuLimitExceeded": cloud.KindCapacity, "InstanceLimitExceeded": cloud.KindCapacity,
	"MaxSpotInstanceCountExceeded": cloud.KindCapacity, "VolumeLimitExceeded": cloud.KindCapacity,
	"NetworkInterfaceLimitExceeded": cloud.KindCapacity,

	// IAM shows what was just made with a delay: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
	"NoSuchEntity": cloud.KindTransient,
}

// skewCodes are those of a clock that is wrong. SignatureDoesNotMatch is too where its message speaks of time.
var skewCodes = map[string]bool{"RequestExpired": true, "RequestTimeTooSkewed": true}

var (
	deniedAction = regexp.MustCompile(`not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)`)
	skewText     = regexp.MustCompile(`(?i)signature (expired|not yet current)|not yet current|clock`)
)

// hasCode tells whether AWS answered with one of the codes.
func hasCode(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}

// translate turns an error of the SDK into one for people. One that was translated before stays as it is.
func translate(err error) error {
	var known *cloud.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &cloud.Error{Kind: cloud.KindTransient, Details: details(err)}
	var api smithy.APIError
	var netErr net.Error
	var garbled *smithy.DeserializationError
	role, inner := assuming(err)
	switch {
	case noIdentity(inner):
		out.Kind, out.Message = cloud.KindIdentity, "The portal has no AWS identity of its own with which to assume a role. Whoever operates it gives it one: an instance profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
	case role && hasCode(inner, "AccessDenied", "AccessDeniedException"):
		out.Kind, out.Message = cloud.KindIdentity, "AWS does not let the role of the credentials be assumed. Open the credentials and test them: the test says what its trust policy lacks."
	case errors.As(err, &api):
		describe(out, api, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		out.Message = "AWS did not answer in time. Try again; if it goes on, look at the portal's way to the internet."
	case errors.Is(err, context.Canceled):
		out.Message = "The question to AWS was broken off."
	case errors.As(err, &garbled):
		out.Message = "What came back is no answer of AWS. Something on the portal's way to AWS may have answered in its place."
	default:
		out.Message = "AWS could not be reached: " + cause(err) + ". Look at the portal's way to the internet."
	}
	return out
}

// assuming tells whether an error comes from assuming a role, which the SDK does on the way to another question, and what it
// met in the innermost question that it put to AWS.
func assuming(err error) (role bool, inner error) {
	inner = err
	var op *smithy.OperationError
	for errors.As(err, &op) {
		if op.Service() != "ec2imds" {
			role, inner = op.Service() == "STS" && op.Operation() == "AssumeRole", op.Err
		}
		err, op = op.Err, nil
	}
	return role, inner
}

// noIdentity tells whether a question was not put to AWS because nothing was found with which to sign it.
func noIdentity(err error) bool {
	var api smithy.APIError
	return err != nil && !errors.As(err, &api) && strings.Contains(err.Error(), "failed to refresh cached credentials")
}

// describe fills in what an answer of AWS means.
func describe(out *cloud.Error, api smithy.APIError, err error) {
	code, message := api.ErrorCode(), api.ErrorMessage()
	kind, known := codes[code]
	switch {
	case known:
		out.Kind = kind
	case api.ErrorFault() == smithy.FaultServer || statusOf(err) >= 500:
		out.Kind = cloud.KindTransient
	default:
		out.Kind = cloud.KindInvalid
	}
	switch out.Kind {
	case cloud.KindThrottled:
		out.Message = "AWS asks for fewer questions in the same time. Wherry slows down and tries again."
	case cloud.KindDenied:
		out.Permission = missingPermission(message, err)
		out.Message = fmt.Sprintf("The credentials do not have the permission %s. Add it to their policy, and try again.", out.Permission)
		if strings.Contains(message, "explicit deny") {
			out.Message = fmt.Sprintf("A policy of the account explicitly denies %s to the credentials. Ask whoever manages the account to allow it.", out.Permission)
		}
	case cloud.KindIdentity:
		out.Message = identityMessage(code, message)
	case cloud.KindTransient:
		out.Message = "AWS could not do it just now: " + message
	case cloud.KindCapacity:
		out.Message = "AWS has no room for it just now: " + message
	default:
		out.Message = "AWS refused: " + message
	}
}

func identityMessage(code, message string) string {
	switch {
	case skewCodes[code] || skewText.MatchString(message):
		return "The portal's clock differs from AWS's, so AWS does not accept its signatures. Set the clock of the portal's host right (NTP), and try again."
	case code == "SignatureDoesNotMatch" || code == "InvalidSignatureException" || code == "IncompleteSignature":
		return "The secret key does not belong to the access key. Enter both again."
	case code == "ExpiredToken" || code == "ExpiredTokenException":
		return "The session with AWS has ended. Try again; a temporary key must be replaced by a lasting one."
	case code == "OptInRequired":
		return "The account has not enabled this region. Enable it in the account's settings, or choose another."
	}
	return "AWS does not know the access key: it was deleted or made inactive, or was not typed as it is. In a region that the account has not enabled it is unknown too."
}

// missingPermission names the permission that AWS says is missing, or the one that the call needs.
func missingPermission(message string, err error) string {
	if m := deniedAction.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		if p := operationPermission[op.Service()+":"+op.Operation()]; p != "" {
			return p
		}
		return servicePrefix[op.Service()] + ":" + op.Operation()
	}
	return "for this"
}

func statusOf(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// details is what AWS's support would want to know: the operation, the code and the request's id. Messages of AWS hold no
// secrets; they name keys by their id at most.
func details(err error) string {
	var parts []string
	var op *smithy.OperationError
	if errors.As(err, &op) {
		parts = append(parts, op.Service()+" "+op.Operation())
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		parts = append(parts, api.ErrorCode()+": "+api.ErrorMessage())
	} else {
		parts = append(parts, cause(err))
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.ServiceRequestID() != "" {
		parts = append(parts, "request "+response.ServiceRequestID())
	}
	return strings.Join(parts, ", ")
}

// cause is the innermost error's text, without the SDK's account of what it was doing.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
