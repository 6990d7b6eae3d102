package aws

import "wherry/cloud"

// regions are the commercial regions: first those that the reference lists, then the others. Names and places are from
// AWS's list of regions.
var regions = []cloud.Region{
	{Name: "eu-west-1", Place: "Ireland", Published: true},
	{Name: "us-east-1", Place: "N. Virginia", Published: true},
	{Name: "us-west-2", Place: "Oregon", Published: true},
	{Name: "eu-west-2", Place: "London", Published: true},
	{Name: "us-east-2", Place: "Ohio", Published: true},
	{Name: "eu-central-1", Place: "Frankfurt", Published: true},
	{Name: "us-west-1", Place: "N. California", Published: true},
	{Name: "eu-west-3", Place: "Paris", Published: true},
	{Name: "ap-southeast-1", Place: "Singapore", Published: true},
	{Name: "af-south-1", Place: "Cape Town"},
	{Name: "ap-east-1", Place: "Hong Kong"},
	{Name: "ap-east-2", Place: "Taipei"},
	{Name: "ap-northeast-1", Place: "Tokyo"},
	{Name: "ap-northeast-2", Place: "Seoul"},
	{Name: "ap-northeast-3", Place: "Osaka"},
	{Name: "ap-south-1", Place: "Mumbai"},
	{Name: "ap-south-2", Place: "Hyderabad"},
	{Name: "ap-southeast-2", Place: "Sydney"},
	{Name: "ap-southeast-3", Place: "Jakarta"},
	{Name: "ap-southeast-4", Place: "Melbourne"},
	{Name: "ap-southeast-5", Place: "Malaysia"},
	{Name: "ap-southeast-7", Place: "Thailand"},
	{Name: "ca-central-1", Place: "Montreal"},
	{Name: "ca-west-1", Place: "Calgary"},
	{Name: "eu-central-2", Place: "Zurich"},
	{Name: "eu-north-1", Place: "Stockholm"},
	{Name: "eu-south-1", Place: "Milan"},
	{Name: "eu-south-2", Place: "Spain"},
	{Name: "il-central-1", Place: "Tel Aviv"},
	{Name: "me-central-1", Place: "United Arab Emirates"},
	{Name: "me-south-1", Place: "Bahrain"},
	{Name: "mx-central-1", Place: "Querétaro"},
	{Name: "sa-east-1", Place: "São Paulo"},
}

// Regions lists where environments can be, those of the reference first.
func (a *AWS) Regions() []cloud.Region { return regions }
