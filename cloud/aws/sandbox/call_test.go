package sandbox

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestACompressedBodyIsRead(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte("Action=DescribeVpcs&VpcId.1=vpc-1"))
	w.Close()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=1")
	c := parse(r, b.Bytes())
	if c.Service != "ec2" || c.Operation != "DescribeVpcs" || c.Params.Get("VpcId.1") != "vpc-1" || c.Region != "eu-west-1" || c.KeyID != "AKIA1" {
		t.Errorf("%+v", c)
	}
}
