package aws

import (
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/platform"
)

// request is the call for an instance. It follows from the placement alone (and the claim token, which follows from the
// machine's id), so that it is the same whenever it is made.
func (p placement) request(machineID, claimToken string) (*ec2.RunInstancesInput, error) {
	userData, err := p.Boot.userData(machineID, claimToken)
	if err != nil {
		return nil, cloud.Errorf(cloud.KindInvalid, err, "The boot script of the machine cannot be written.")
	}
	in := &ec2.RunInstancesInput{
		MinCount: awssdk.Int32(1), MaxCount: awssdk.Int32(1), ClientToken: awssdk.String(p.clientToken(machineID)),
		ImageId: &p.ImageID, InstanceType: types.InstanceType(p.InstanceType),
		SubnetId: &p.Place.Subnet, SecurityGroupIds: p.SecurityGroups, // the subnet decides about a public address
		IamInstanceProfile:                &types.IamInstanceProfileSpecification{Arn: &p.ProfileARN},
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		// Containers are one network hop away from the instance's metadata. Tags are for people, not for the machine.
		MetadataOptions: &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: awssdk.Int32(2),
			HttpEndpoint: types.InstanceMetadataEndpointStateEnabled, InstanceMetadataTags: types.InstanceMetadataTagsStateDisabled},
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: &p.RootDevice, Ebs: p.disk()}},
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: ec2Tags(p.Tags)},
			{ResourceType: types.ResourceTypeVolume, Tags: ec2Tags(p.Tags)}},
		UserData: &userData,
	}
	if p.KeyPair != "" {
		in.KeyName = &p.KeyPair
	}
	if p.Spot {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot,
			SpotOptions: &types.SpotMarketOptions{SpotInstanceType: types.SpotInstanceTypeOneTime,
				InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate}}
	}
	return in, nil
}

// disk is the boot disk, which ends with its machine. Without a key of one's own, an encrypted one has the account's.
func (p placement) disk() *types.EbsBlockDevice {
	disk := &types.EbsBlockDevice{VolumeType: types.VolumeTypeGp3, VolumeSize: &p.DiskGiB, DeleteOnTermination: awssdk.Bool(true)}
	if p.Encrypted {
		disk.Encrypted = awssdk.Bool(true)
	}
	if p.KMSKeyID != "" {
		disk.KmsKeyId = &p.KMSKeyID
	}
	return disk
}

func ec2Tags(labels []platform.Label) (tags []types.Tag) {
	for _, l := range labels {
		tags = append(tags, types.Tag{Key: &l.Name, Value: &l.Value})
	}
	return tags
}
