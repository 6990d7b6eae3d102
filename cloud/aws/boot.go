package aws

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"
	"text/template"

	"wherry/cloud/aws/image"
)

// maxUserData is how many bytes of user data EC2 takes, before they are written in base64.
const maxUserData = 16 << 10

//go:embed boot.sh
var bootScript string

var bootTemplate = template.Must(template.New("boot.sh").Parse(bootScript))

// boot is what the boot script of a machine is told, but for the claim token, which is not kept.
type boot struct {
	PortalURL   string `json:"portalUrl"` // without a slash at the end
	Arch        string `json:"arch"`
	AgentDigest string `json:"agentDigest"` // SHA-256, in hex
	Minutes     int    `json:"minutes"`     // of the dead-man's timer
	Lifetime    string `json:"lifetime"`    // as the agent reads it
}

// userData is the boot script of a machine in base64, as EC2 takes it. The claim token is worth nothing to anybody once the
// agent has used it.
func (b boot) userData(machineID, claimToken string) (string, error) {
	var text bytes.Buffer
	err := bootTemplate.Execute(&text, []struct{ Name, Value string }{
		{"PORTAL", quote(b.PortalURL)}, {"MACHINE", quote(machineID)}, {"CLAIM_TOKEN", quote(claimToken)}, {"ARCH", quote(b.Arch)},
		{"DIGEST", quote(b.AgentDigest)}, {"MINUTES", fmt.Sprint(b.Minutes)}, {"LIFETIME", quote(b.Lifetime)},
		{"BAKED", quote(image.AgentPath)},
	})
	if err != nil {
		return "", err
	}
	if text.Len() > maxUserData {
		return "", fmt.Errorf("the boot script has %d bytes, and EC2 takes %d", text.Len(), maxUserData)
	}
	return base64.StdEncoding.EncodeToString(text.Bytes()), nil
}

// quote writes a text so that bash reads it as it is.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
