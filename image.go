package main

import (
	"context"
	"flag"
	"fmt"

	"wherry/cloud/aws/image"
)

// imageCommand prints a recipe for an AMI of one's own, on which machines boot faster.
func imageCommand(_ context.Context, args []string) error {
	o := image.Options{WherryVersion: version}
	var plugins, pull listFlag
	flags := flag.NewFlagSet("wherry image", flag.ContinueOnError)
	format := flags.String("format", "packer", "`packer`, or image-builder for a component of EC2 Image Builder")
	flags.StringVar(&o.Region, "region", "us-east-1", "the `region` in which Packer builds the image")
	flags.StringVar(&o.Arch, "arch", "amd64", "the `architecture`: amd64, or arm64 for Graviton")
	flags.BoolVar(&o.GPU, "gpu", false, "begin with the image that has NVIDIA's drivers")
	flags.StringVar(&o.Nextflow, "nextflow", image.DefaultNextflow, "the `version` of Nextflow in the image")
	flags.Var(&plugins, "plugin", "a Nextflow `plugin` in the image, such as nf-amazon@2.9.0; may be repeated. Without it, those that runs on AWS need")
	flags.Var(&pull, "pull", "a container `image` to have in the image; may be repeated")
	flags.StringVar(&o.AgentURL, "agent-url", "", "an `address` of Wherry's agent to have in the image; machines fetch it otherwise")
	flags.StringVar(&o.AgentSHA256, "agent-sha256", "", "the `digest` of that agent")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("image takes no arguments, but got %q", flags.Args())
	}
	if o.Plugins = plugins; len(plugins) == 0 {
		o.Plugins = image.DefaultPlugins
	}
	o.Pull = pull
	write, ok := map[string]func(image.Options) (string, error){"packer": image.Packer, "image-builder": image.ImageBuilder}[*format]
	if !ok {
		return fmt.Errorf("there is no format %q: it is packer or image-builder", *format)
	}
	text, err := write(o)
	if err != nil {
		return err
	}
	fmt.Print(text)
	return nil
}
