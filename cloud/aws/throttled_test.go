package aws

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// TestThrottlingIsCountedWhereTheSDKHidesIt has AWS ask for patience once, and then answer.
func TestThrottlingIsCountedWhereTheSDKHidesIt(t *testing.T) {
	t.Parallel()
	var calls, told atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`))
			return
		}
		_, _ = w.Write([]byte(`<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`))
	}))
	defer server.Close()
	a := New(Config{Throttled: func(service, operation string) {
		if service != "STS" || operation != "GetCallerIdentity" {
			t.Errorf("%s %s", service, operation)
		}
		told.Add(1)
	}, Load: []func(*config.LoadOptions) error{config.WithBaseEndpoint(server.URL), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIA", "s", ""))}})
	cfg, err := a.own(t.Context(), homeRegion)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	if told.Load() != 1 {
		t.Errorf("it was told of %d throttled answers, of %d", told.Load(), calls.Load())
	}
}
