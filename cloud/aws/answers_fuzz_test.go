package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"wherry/cloud"
	"wherry/cloud/aws/logevent"
)

// FuzzErrors puts answers of AWS that say no into words: each has a kind that the loops know, and something to read.
func FuzzErrors(f *testing.F) {
	for code := range codes {
		f.Add("EC2", "RunInstances", code, "User is not authorized to perform: ec2:RunInstances with an explicit deny", 400)
	}
	for code := range verdicts {
		f.Add("EC2", "RunInstances", code, "You have requested more", 400)
	}
	f.Add("STS", "AssumeRole", "AccessDenied", "", 403)
	f.Add("EC2", "RunInstances", "InvalidParameterValue", "Value (x) for parameter iamInstanceProfile.name is invalid", 400)
	f.Add("IAM", "\xff", "Unsupported", "Availability Zone", 503)
	kinds := map[cloud.Kind]bool{cloud.KindThrottled: true, cloud.KindTransient: true, cloud.KindCapacity: true, cloud.KindDenied: true, cloud.KindInvalid: true, cloud.KindIdentity: true}
	f.Fuzz(func(t *testing.T, service, operation, code, message string, status int) {
		answer := &awshttp.ResponseError{RequestID: "r", ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
			Err: &smithy.GenericAPIError{Code: code, Message: message}}}
		whole := &smithy.OperationError{ServiceID: service, OperationName: operation, Err: answer}
		v := judge(whole)
		for what, err := range map[string]error{"an answer": translate(whole), "a launch": launchError(placement{ProfileARN: "p"}, whole), "what lies around it": translate(fmt.Errorf("x: %w", whole))} {
			var known *cloud.Error
			if !errors.As(err, &known) || !kinds[known.Kind] || known.Message == "" || known.Details == "" {
				t.Errorf("%s: %+v", what, err)
			}
			if known != nil && known.Kind == cloud.KindDenied && known.Permission == "" {
				t.Errorf("%s does not say which permission is missing: %+v", what, err)
			}
		}
		if v < verdictUnclear || v > verdictRefused {
			t.Errorf("the verdict is %d", v)
		}
	})
}

// FuzzInstances reads what EC2 says of instances.
func FuzzInstances(f *testing.F) {
	for code := range endReasons {
		f.Add([]byte(`{"InstanceId":"i-1","State":{"Name":"terminated"},"StateReason":{"Code":"` + code + `","Message":"` + code + `: x."},"StateTransitionReason":"User initiated (2026)"}`))
	}
	f.Add([]byte(`{"State":null,"Tags":[{"Key":null,"Value":null}],"Placement":{},"StateTransitionReason":":"}`))
	a := &AWS{}
	f.Fuzz(func(t *testing.T, text []byte) {
		var i types.Instance
		if json.Unmarshal(text, &i) != nil {
			return
		}
		seen := a.instance(i, "eu-west-1")
		if seen.Status == "" || (hasEnded(i) && isEnding(i) && seen.Status != cloud.StatusGone) {
			t.Errorf("%s is %+v", text, seen)
		}
		if reason, _ := endReason(i); i.StateReason != nil && endReasons[awssdk.ToString(i.StateReason.Code)] != "" && reason == "" {
			t.Errorf("%s ended for no reason", text)
		}
	})
}

// FuzzStreamedLog reads a log back from CloudWatch, whose events come in any order, more than once, and among others' events.
func FuzzStreamedLog(f *testing.F) {
	f.Add([]byte("one\ntwo\n\nthree"), "{}", uint64(1), int64(0))
	f.Add(bytes.Repeat([]byte("x"), 1000), `{"offset":-1,"text":"x"}`, uint64(2), int64(5))
	f.Add([]byte("a\nb\n"), `{"offset":9223372036854775807,"text":"x"}`, uint64(3), int64(2))
	f.Fuzz(func(t *testing.T, text []byte, other string, seed uint64, from int64) {
		from = min(max(from, 0), int64(len(text)))
		var events []logtypes.OutputLogEvent
		for _, e := range logevent.Split(0, text) {
			for range 1 + seed%2 {
				events = append(events, logtypes.OutputLogEvent{Message: awssdk.String(logevent.Encode(e))})
			}
		}
		strange, err := logevent.Decode(other)
		if err != nil || strange.Offset > int64(len(text)) { // nobody else's, or after the end
			events = append(events, logtypes.OutputLogEvent{Message: &other}, logtypes.OutputLogEvent{})
		}
		random := rand.New(rand.NewPCG(seed, 1))
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		log := assembly{next: from, early: map[int64][]byte{}}
		half := len(events) / 2
		log.addAll(events[:half])
		log.addAll(events[half:])
		if !bytes.Equal(log.text, text[from:]) {
			t.Errorf("%q from %d is %q", text, from, log.text)
		}
	})
}
