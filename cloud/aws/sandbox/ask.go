package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// ask makes a call of the query protocol as the administrator, and returns moto's answer as it came.
func (s *Server) ask(ctx context.Context, service, region string, params url.Values) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	body := params.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	key := aws.Credentials{AccessKeyID: s.AdminKey.ID, SecretAccessKey: s.AdminKey.Secret}
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		return answer{}, err
	}
	in, err := connections.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer in.Body.Close()
	text, err := io.ReadAll(in.Body)
	return answer{in.StatusCode, http.Header{"Content-Type": in.Header["Content-Type"]}, text}, err
}

// askEC2 makes a call to EC2 as the administrator and reads its answer. An answer that is an error is one here.
func (s *Server) askEC2(ctx context.Context, region, operation string, params url.Values) (*element, error) {
	a, err := s.ask(ctx, "ec2", region, query(operation, params))
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", operation, errorCode(a), a.body)
	}
	return parseElement(a.body)
}

// query is a call of EC2's query protocol.
func query(operation string, params url.Values) url.Values {
	all := url.Values{"Action": {operation}, "Version": {"2016-11-15"}}
	for name, values := range params {
		all[name] = values
	}
	return all
}
