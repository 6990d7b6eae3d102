package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// MachineDigest tells environments apart that start different machines. A warm machine takes a run only while its
// environment's digest is still the one that it was started with.
func (c ComputeEnv) MachineDigest() string {
	config := c.Config.AWSCloud
	config.WarmInstances, config.WarmMinutes, config.KeepForResume, config.NextflowVersion, config.WaveEnabled, config.Fusion2Enabled, config.LogGroup = 0, 0, false, "", false, false, ""
	text, err := json.Marshal(struct {
		Platform              PlatformName
		Region, CredentialsID string
		Config                AWSCloud
	}{c.Platform, c.Region, c.CredentialsID, config})
	if err != nil {
		panic(fmt.Sprintf("our own types always marshal: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
