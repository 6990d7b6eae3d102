package aws

import (
	"context"
	"encoding/base64"
	"strings"
	"unicode"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"wherry/platform"
)

// maxLastWords is how many lines of a console are shown.
const maxLastWords = 30

// LastWords are the last lines that the machine's console shows. They need a permission that is not in the published
// policies, so nobody is asked unless the operator wants it; and what cannot be had is nothing.
func (a *AWS) LastWords(ctx context.Context, env platform.ComputeEnv, m platform.Machine) string {
	if !a.ConsoleOutput || m.InstanceID == "" {
		return ""
	}
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return ""
	}
	out, err := ec2.NewFromConfig(cfg).GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &m.InstanceID})
	if err != nil {
		return ""
	}
	text, err := base64.StdEncoding.DecodeString(awssdk.ToString(out.Output))
	if err != nil {
		return ""
	}
	return lastLines(string(text))
}

// lastLines are the last lines that say something, without what is only for a terminal.
func lastLines(text string) string {
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(text, "�")) {
		line = strings.TrimRightFunc(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\t' {
				return -1
			}
			return r
		}, line), unicode.IsSpace)
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-maxLastWords):], "\n")
}
