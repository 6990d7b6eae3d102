package aws

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"

	"wherry/platform"
)

// The instance's policies are those of the reference, kept as data. What the agent needs does not exceed them.
//
//go:embed policies/instance-*.json
var policyFiles embed.FS

// managedPolicies are attached to every instance's role, as the reference lists them.
var managedPolicies = []string{
	"arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy",
	"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
	"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
}

// maxInlinePolicies is how many characters a role's inline policies may have together, spaces not counted (IAM quotas).
const maxInlinePolicies = 10_240

func policyFile(name string) string {
	text, err := policyFiles.ReadFile("policies/" + name + ".json")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// inlinePolicy is a policy that is written into the role.
type inlinePolicy struct{ name, document string }

// inlinePolicies are those of an environment: S3 with a set of statements for each bucket, Secrets Manager, KMS.
func inlinePolicies(env platform.ComputeEnv) ([]inlinePolicy, error) {
	s3, err := bucketsPolicy(env.Buckets())
	if err != nil {
		return nil, err
	}
	list := []inlinePolicy{
		{"s3", s3},
		{"secrets-manager", compact(strings.ReplaceAll(policyFile("instance-secrets"), "<REGION>", env.Region))},
		{"kms", compact(policyFile("instance-kms"))},
	}
	size := 0
	for _, p := range list {
		size += len(p.document)
	}
	if size > maxInlinePolicies {
		return nil, platform.FieldErrors{"allowBuckets": fmt.Sprintf(
			"The names of so many buckets do not fit into the role's policies (%d of %d characters). Name fewer, or give an instance profile of your own.", size, maxInlinePolicies)}
	}
	return list, nil
}

// bucketsPolicy repeats the reference's statements for each bucket. A statement's Sid must be unique in its policy.
func bucketsPolicy(buckets []string) (string, error) {
	var doc struct {
		Version   string
		Statement []map[string]any
	}
	for i, bucket := range buckets {
		one := doc
		one.Statement = nil
		if err := json.Unmarshal([]byte(strings.ReplaceAll(policyFile("instance-s3"), "<BUCKET_NAME>", bucket)), &one); err != nil {
			return "", err
		}
		for _, s := range one.Statement {
			if i > 0 {
				s["Sid"] = fmt.Sprintf("%s%d", s["Sid"], i+1)
			}
			doc.Statement = append(doc.Statement, s)
		}
		doc.Version = one.Version
	}
	text, err := json.Marshal(doc)
	return string(text), err
}

// compact takes the spaces out of a JSON document.
func compact(text string) string {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err) // it is embedded
	}
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}
