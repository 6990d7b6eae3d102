package aws

import (
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// endReasons puts the codes with which EC2 explains why an instance stopped or ended into words
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html). A key of the disk that
// may not be used shows as Client.InternalError
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html).
var endReasons = map[string]string{
	"Client.UserInitiatedShutdown":        "somebody ended the instance in AWS, or a program did",
	"Client.UserInitiatedHibernate":       "somebody hibernated the instance in AWS",
	"Client.InstanceInitiatedShutdown":    "the machine shut itself down",
	"Client.InstanceTerminated":           "the instance was ended or restarted while an image was made of it",
	"Client.InternalError":                "EC2 could not start the instance: usually its disk is encrypted with a key that may not be used, or that was disabled (KMS)",
	"Client.InvalidSnapshot.NotFound":     "EC2 could not start the instance: the snapshot of its image is not there any more. Choose another image",
	"Client.VolumeLimitExceeded":          "EC2 could not start the instance: the account has reached its quota of disks (EBS). Ask AWS to increase it, or delete disks that are not needed",
	"Server.SpotInstanceTermination":      "EC2 took the Spot instance back for others",
	"Server.SpotInstanceShutdown":         "EC2 took the Spot instance back for others",
	"Server.InsufficientInstanceCapacity": "EC2 had no room for the instance after all",
	"Server.InternalError":                "EC2 failed to start the instance, for a reason of its own. Launching again usually helps",
	"Server.ScheduledStop":                "EC2 stopped the instance, because its host is to be retired",
}

const stoppedInAWS = "somebody stopped the instance in AWS"

// endReason is why an instance stopped or ended, as a sentence without its full stop, and whether EC2 took it for others.
func endReason(i types.Instance) (reason string, interrupted bool) {
	var code, message string
	if i.StateReason != nil {
		code, message = awssdk.ToString(i.StateReason.Code), awssdk.ToString(i.StateReason.Message)
	}
	transition := awssdk.ToString(i.StateTransitionReason)
	if code == "" {
		code, _, _ = strings.Cut(transition, ":")
	}
	interrupted = strings.HasPrefix(code, "Server.SpotInstance")
	halted := i.State != nil && (i.State.Name == types.InstanceStateNameStopped || i.State.Name == types.InstanceStateNameStopping)
	switch words := endReasons[code]; {
	case halted && (code == "Client.UserInitiatedShutdown" || strings.HasPrefix(transition, "User initiated")):
		return stoppedInAWS, false
	case words != "":
		return words + " (" + code + ")", interrupted
	case strings.HasPrefix(transition, "User initiated"):
		return endReasons["Client.UserInitiatedShutdown"], false
	case message != "":
		return "EC2 says: " + strings.TrimSuffix(strings.TrimPrefix(message, code+": "), "."), interrupted
	case transition != "":
		return "EC2 says: " + strings.TrimSuffix(transition, "."), interrupted
	}
	return "", interrupted
}
