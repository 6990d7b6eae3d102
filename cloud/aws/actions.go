package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"wherry/cloud"
)

// purpose is why Wherry asks for a permission. The names are those of the reference's policies.
type purpose string

const (
	purposeCreate   purpose = "create"
	purposeValidate purpose = "validate"
	purposeLaunch   purpose = "launch"
	purposeDelete   purpose = "delete"
	purposeRead     purpose = "read"
	// purposeConsole is not published. It is there only where the operator wants it (Config.ConsoleOutput).
	purposeConsole purpose = "console"
)

// purposes tells each purpose in words, in the order in which they are shown.
var purposes = []struct {
	purpose
	sid, title string
	optional   bool
}{
	{purposeCreate, "AwsCloudCreate", "Make the role of the machines when a compute environment is created", false},
	{purposeValidate, "AwsCloudValidate", "Check what was entered for a compute environment", false},
	{purposeLaunch, "AwsCloudLaunch", "Start and end machines, and read their logs", false},
	{purposeDelete, "AwsCloudDelete", "Remove the role again when the compute environment is deleted", false},
	{purposeRead, "AwsCloudRead", "Fill the dropdowns of the form", true},
	{purposeConsole, "WherryConsole", "Show the last lines of the console of a machine that did not come up", true},
}

// forge is how the names of what Wherry makes in IAM begin.
const forge = "TowerForge-"

// Resources to which an action can be narrowed. Actions on EC2 that describe have none.
const (
	anything    = "*"
	roles       = "arn:aws:iam::*:role/" + forge + "*"
	profiles    = "arn:aws:iam::*:instance-profile/" + forge + "*"
	bucketFiles = "arn:aws:s3:::<BUCKET>/*"
)

// actions is the one table of what Wherry may ask of AWS: the permission, why, and what it can be narrowed to. A test holds
// it against the published policies, and another against every call that is really made.
var actions = []struct {
	permission string
	purposes   []purpose
	narrow     []string
}{
	{"iam:CreateRole", []purpose{purposeCreate}, []string{roles}},
	{"iam:AddRoleToInstanceProfile", []purpose{purposeCreate}, []string{profiles}},
	{"iam:CreateInstanceProfile", []purpose{purposeCreate}, []string{profiles}},
	{"iam:AttachRolePolicy", []purpose{purposeCreate}, []string{roles}},
	{"iam:PutRolePolicy", []purpose{purposeCreate}, []string{roles}},
	{"iam:PassRole", []purpose{purposeCreate}, []string{roles}},
	{"iam:TagRole", []purpose{purposeCreate}, []string{roles}},
	{"iam:TagInstanceProfile", []purpose{purposeCreate}, []string{profiles}},
	{"ec2:DescribeInstanceTypes", []purpose{purposeValidate, purposeRead}, []string{anything}},
	{"ec2:DescribeImages", []purpose{purposeValidate, purposeRead}, []string{anything}},
	{"ec2:DescribeSubnets", []purpose{purposeValidate, purposeRead}, []string{anything}},
	{"ec2:DescribeSecurityGroups", []purpose{purposeValidate, purposeRead}, []string{anything}},
	{"ec2:DescribeKeyPairs", []purpose{purposeRead}, []string{anything}},
	{"ec2:DescribeVpcs", []purpose{purposeRead}, []string{anything}},
	{"s3:ListAllMyBuckets", []purpose{purposeRead}, []string{anything}},
	{"ec2:RunInstances", []purpose{purposeLaunch}, []string{anything}},
	{"ec2:DescribeInstances", []purpose{purposeLaunch}, []string{anything}},
	{"ec2:CreateTags", []purpose{purposeLaunch}, []string{anything}},
	{"ec2:TerminateInstances", []purpose{purposeLaunch}, []string{anything}},
	{"ec2:DeleteTags", []purpose{purposeLaunch}, []string{anything}},
	{"logs:GetLogEvents", []purpose{purposeLaunch}, []string{anything}},
	{"s3:GetObject", []purpose{purposeLaunch}, []string{bucketFiles}},
	{"iam:GetRole", []purpose{purposeDelete}, []string{roles}},
	{"iam:ListAttachedRolePolicies", []purpose{purposeDelete}, []string{roles}},
	{"iam:ListRolePolicies", []purpose{purposeDelete}, []string{roles}},
	{"iam:DeleteRole", []purpose{purposeDelete}, []string{roles}},
	{"iam:DeleteInstanceProfile", []purpose{purposeDelete}, []string{profiles}},
	{"iam:RemoveRoleFromInstanceProfile", []purpose{purposeDelete}, []string{profiles}},
	{"iam:DetachRolePolicy", []purpose{purposeDelete}, []string{roles}},
	{"iam:DeleteRolePolicy", []purpose{purposeDelete}, []string{roles}},
	{"ec2:GetConsoleOutput", []purpose{purposeConsole}, []string{anything}},
}

// operationPermission names the permission of an SDK operation where it is not the operation's own name. Empty: it needs
// none that an account's owner would have to give.
var operationPermission = map[string]string{
	"S3:ListBuckets":        "s3:ListAllMyBuckets",
	"STS:GetCallerIdentity": "",
	"STS:AssumeRole":        "", // allowed by the role's trust policy
}

// servicePrefix is how the names of a service's permissions begin, by the SDK's name of the service.
var servicePrefix = map[string]string{"EC2": "ec2", "IAM": "iam", "S3": "s3", "CloudWatch Logs": "logs", "STS": "sts"}

// listed tells whether an SDK operation stands in the table, and is wanted.
func listed(service, operation string, console bool) bool {
	permission, known := operationPermission[service+":"+operation]
	if !known {
		permission = servicePrefix[service] + ":" + operation
	}
	if permission == "" {
		return true
	}
	for _, a := range actions {
		if a.permission == permission {
			return console || !slices.Contains(a.purposes, purposeConsole)
		}
	}
	return false
}

// guard stops every call that is not in the table before it leaves. Whatever else goes wrong, an account's log never shows
// Wherry doing what nobody allowed it to.
func (c Config) guard(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("wherryGuard",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			service, operation := awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)
			if !listed(service, operation, c.ConsoleOutput) {
				return middleware.InitializeOutput{}, middleware.Metadata{}, fmt.Errorf("%s:%s is not in Wherry's table of AWS actions", service, operation)
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.After)
}

// Permissions returns the policies that credentials need, all in one and by purpose. With a bucket they are narrowed to what Wherry makes
// by name and to that bucket.
func (a *AWS) Permissions(bucket string) (list []cloud.Permissions) {
	list = append(list, cloud.Permissions{Purpose: "all", Title: "Everything in one policy", Document: PolicyDocument(bucket, a.ConsoleOutput)})
	for _, p := range purposes {
		if p.purpose == purposeConsole && !a.ConsoleOutput {
			continue
		}
		list = append(list, cloud.Permissions{Purpose: string(p.purpose), Title: p.title, Optional: p.optional,
			Document: document(statements(p.purpose, p.sid, bucket))})
	}
	return list
}

// PolicyDocument is one IAM policy with everything that Wherry asks for, in JSON. With a bucket it is narrowed. With console
// it has what Config.ConsoleOutput needs, too.
func PolicyDocument(bucket string, console bool) string {
	var all []statement
	for _, p := range purposes {
		if p.purpose == purposeConsole && !console {
			continue
		}
		all = append(all, statements(p.purpose, p.sid, bucket)...)
	}
	return document(all)
}

// statement is one statement of an IAM policy.
type statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Principal any `json:",omitempty"`
	Action    any
	Resource  any            `json:",omitempty"`
	Condition map[string]any `json:",omitempty"`
}

// statements gathers a purpose's actions into one statement for each set of resources.
func statements(p purpose, sid, bucket string) (list []statement) {
	byResource := map[string][]string{}
	var order []string
	for _, a := range actions {
		if !slices.Contains(a.purposes, p) {
			continue
		}
		resource := anything
		if bucket != "" {
			resource = strings.ReplaceAll(strings.Join(a.narrow, " "), "<BUCKET>", bucket)
			if a.permission == "iam:PassRole" {
				resource += " to-ec2" // it gets a statement of its own, with a condition
			}
		}
		if byResource[resource] == nil {
			order = append(order, resource)
		}
		byResource[resource] = append(byResource[resource], a.permission)
	}
	for i, key := range order {
		s := statement{Sid: sid, Effect: "Allow", Action: byResource[key]}
		if i > 0 {
			s.Sid = fmt.Sprintf("%s%d", sid, i+1)
		}
		resources, toEC2 := strings.CutSuffix(key, " to-ec2")
		if toEC2 {
			s.Condition = map[string]any{"StringEquals": map[string]any{"iam:PassedToService": "ec2.amazonaws.com"}}
		}
		s.Resource = resources
		list = append(list, s)
	}
	return list
}

// document writes statements as a policy.
func document(statements []statement) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
	if err != nil {
		panic(fmt.Sprintf("a policy of strings always marshals: %v", err))
	}
	return b.String()
}
