package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Call is one call as it came over the wire.
type Call struct {
	// Service is as it is signed: ec2, iam, sts, s3, logs.
	Service   string
	Operation string
	Region    string
	KeyID     string // KeyID is of the access key that signed it.
	// Params of ec2, iam and sts are those of the query protocol, of logs the fields of the JSON (one that is no text as
	// JSON), of s3 Bucket and Key and those of the URL.
	Params url.Values
	// Status is that of the answer that the client got; 0 when it got none.
	Status    int
	ErrorCode string // ErrorCode is empty when the call succeeded.
}

// scope is the credential scope of AWS's signature, version 4.
var scope = regexp.MustCompile(`Credential=([^/,\s]+)/\d+/([^/,\s]+)/([^/,\s]+)/aws4_request`)

// parse reads who calls what.
func parse(r *http.Request, body []byte) Call {
	c := Call{Params: url.Values{}}
	if found := scope.FindStringSubmatch(r.Header.Get("Authorization")); found != nil {
		c.KeyID, c.Region, c.Service = found[1], found[2], found[3]
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		c.Operation = target[strings.LastIndex(target, ".")+1:]
		c.Params = fields(plain(r.Header, body))
		return c
	}
	if c.Service == "s3" {
		c.Operation, c.Params = parseS3(r)
		return c
	}
	if form, err := url.ParseQuery(string(plain(r.Header, body))); err == nil {
		c.Params = form
	}
	c.Operation = c.Params.Get("Action")
	return c
}

// plain is a body that is read here and not only passed on: the SDK may compress it.
func plain(h http.Header, body []byte) []byte {
	if !strings.Contains(h.Get("Content-Encoding"), "gzip") {
		return body
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return body
	}
	return text
}

// fields flattens the top level of a JSON object.
func fields(body []byte) url.Values {
	values := url.Values{}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return values
	}
	for name, raw := range object {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		values.Set(name, text)
	}
	return values
}

// parseS3 reads an operation from a URL with the bucket in its path: where the endpoint is an IP address, the SDK makes no other.
func parseS3(r *http.Request) (string, url.Values) {
	values := r.URL.Query()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	operation := s3Operation(r, values, bucket, key)
	if bucket != "" {
		values.Set("Bucket", bucket)
	}
	if key != "" {
		values.Set("Key", key)
	}
	return operation, values
}

// s3Marks are the parameters by which S3 tells operations of one method apart, on buckets and on objects.
var s3Marks = []struct{ level, method, mark, operation string }{
	{"bucket", "GET", "list-type", "ListObjectsV2"},
	{"bucket", "GET", "location", "GetBucketLocation"},
	{"bucket", "GET", "versions", "ListObjectVersions"},
	{"bucket", "GET", "uploads", "ListMultipartUploads"},
	{"bucket", "GET", "", "ListObjects"},
	{"bucket", "HEAD", "", "HeadBucket"},
	{"bucket", "PUT", "", "CreateBucket"},
	{"bucket", "DELETE", "", "DeleteBucket"},
	{"bucket", "POST", "delete", "DeleteObjects"},
	{"object", "GET", "uploadId", "ListParts"},
	{"object", "GET", "", "GetObject"},
	{"object", "HEAD", "", "HeadObject"},
	{"object", "PUT", "partNumber", "UploadPart"},
	{"object", "PUT", "", "PutObject"},
	{"object", "POST", "uploads", "CreateMultipartUpload"},
	{"object", "POST", "uploadId", "CompleteMultipartUpload"},
	{"object", "DELETE", "uploadId", "AbortMultipartUpload"},
	{"object", "DELETE", "", "DeleteObject"},
}

func s3Operation(r *http.Request, values url.Values, bucket, key string) string {
	if named := values.Get("x-id"); named != "" {
		return named // the SDK says it itself where it can
	}
	if bucket == "" {
		return "ListBuckets"
	}
	if key != "" && r.Header.Get("X-Amz-Copy-Source") != "" {
		return "CopyObject"
	}
	level := "bucket"
	if key != "" {
		level = "object"
	}
	for _, m := range s3Marks {
		if m.level == level && m.method == r.Method && (m.mark == "" || values.Has(m.mark)) {
			return m.operation
		}
	}
	return r.Method
}

// needs is the actions that AWS asks for a call, where that is not the operation's name.
var needs = map[string][]string{
	"sts:GetCallerIdentity":      {},
	"sts:GetSessionToken":        {},
	"s3:ListBuckets":             {"s3:ListAllMyBuckets"},
	"s3:ListObjects":             {"s3:ListBucket"},
	"s3:ListObjectsV2":           {"s3:ListBucket"},
	"s3:HeadBucket":              {"s3:ListBucket"},
	"s3:HeadObject":              {"s3:GetObject"},
	"s3:DeleteObjects":           {"s3:DeleteObject"},
	"s3:CopyObject":              {"s3:GetObject", "s3:PutObject"},
	"s3:CreateMultipartUpload":   {"s3:PutObject"},
	"s3:UploadPart":              {"s3:PutObject"},
	"s3:CompleteMultipartUpload": {"s3:PutObject"},
	"s3:ListParts":               {"s3:ListMultipartUploadParts"},
	"s3:ListMultipartUploads":    {"s3:ListBucketMultipartUploads"},
	"s3:ListObjectVersions":      {"s3:ListBucketVersions"},
}

// needsToo is the actions that AWS asks for besides, when a call has a parameter of this name or beginning with it.
var needsToo = []struct{ call, param, action string }{
	{"iam:CreateRole", "Tags.member.", "iam:TagRole"},
	{"iam:CreateInstanceProfile", "Tags.member.", "iam:TagInstanceProfile"},
	{"iam:CreateUser", "Tags.member.", "iam:TagUser"},
	{"iam:CreatePolicy", "Tags.member.", "iam:TagPolicy"},
	{"iam:AddRoleToInstanceProfile", "RoleName", "iam:PassRole"},
	{"sts:AssumeRole", "Tags.member.", "sts:TagSession"},
	{"sts:AssumeRole", "SourceIdentity", "sts:SetSourceIdentity"},
	{"ec2:", "TagSpecification", "ec2:CreateTags"},
	{"ec2:RunInstances", "IamInstanceProfile.", "iam:PassRole"},
	{"ec2:AssociateIamInstanceProfile", "IamInstanceProfile.", "iam:PassRole"},
	{"ec2:ReplaceIamInstanceProfileAssociation", "IamInstanceProfile.", "iam:PassRole"},
}

// Needs is the actions that AWS wants to be allowed for this call.
func (c Call) Needs() []string {
	name := c.Service + ":" + c.Operation
	list, listed := needs[name]
	if !listed {
		list = []string{name}
	}
	list = append([]string(nil), list...)
	for _, n := range needsToo {
		if (name == n.call || strings.HasSuffix(n.call, ":") && strings.HasPrefix(name, n.call)) && c.has(n.param) {
			list = append(list, n.action)
		}
	}
	return list
}

// has tells whether the call has a parameter with a name that begins so.
func (c Call) has(prefix string) bool {
	for name := range c.Params {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// resource is what the message of a refusal names for one of the actions that the call needs. Empty: AWS names none.
func (c Call) resource(action string) string {
	iam := "arn:aws:iam::" + account + ":"
	role, profile := c.Params.Get("RoleName"), c.Params.Get("InstanceProfileName")
	switch {
	case action == "iam:PassRole" && role == "":
		// Only the profile is in the call. Its role is taken to have the same name.
		arn := c.Params.Get("IamInstanceProfile.Arn")
		return iam + "role/" + c.Params.Get("IamInstanceProfile.Name") + arn[strings.LastIndex(arn, "/")+1:]
	case c.Service == "sts":
		return c.Params.Get("RoleArn")
	case action == "iam:PassRole", c.Service == "iam" && role != "" && profile == "":
		return iam + "role/" + role
	case c.Service == "iam" && profile != "":
		return iam + "instance-profile/" + profile
	case c.Service == "ec2" && !strings.HasPrefix(c.Operation, "Describe"):
		return "arn:aws:ec2:" + c.Region + ":" + account + ":instance/*"
	case c.Service == "logs" && c.Params.Has("logGroupName"):
		return "arn:aws:logs:" + c.Region + ":" + account + ":log-group:" + c.Params.Get("logGroupName") + ":log-stream:" + c.Params.Get("logStreamName")
	case c.Service == "s3" && c.Params.Has("Bucket"):
		return strings.TrimSuffix("arn:aws:s3:::"+c.Params.Get("Bucket")+"/"+c.Params.Get("Key"), "/")
	}
	return ""
}

// afterSlash is the last part of an ARN.
func afterSlash(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
