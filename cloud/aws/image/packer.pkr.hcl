# An AMI for Wherry's machines, printed by Wherry [[.WherryVersion]]:
#
#   packer init .
#   packer build -var region=[[.Region]] .
#
# Build one for each architecture and region that compute environments use, and enter its id there as the AMI. Packer works
# with your own AWS credentials; Wherry's need no more permissions for this.

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "region" {
  type    = string
  default = [[quote .Region]]
}

variable "arch" {
  description = "amd64, or arm64 for Graviton."
  type        = string
  default     = [[quote .Arch]]
  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The architecture is amd64 or arm64."
  }
}

variable "gpu" {
  description = "Begin with the image that has NVIDIA's drivers."
  type        = bool
  default     = [[.GPU]]
}

variable "instance_type" {
  description = "Where the image is built; null: an m6i.large or m6g.large."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "Where the image is built; it must reach the internet, and Packer it by SSH. null: the default VPC."
  type        = string
  default     = null
}

variable "disk_gib" {
  description = "The size of the image's disk. Environments can ask for more, never for less."
  type        = number
  default     = 30
}

variable "nextflow_version" {
  type    = string
  default = [[quote .Nextflow]]
}

variable "nextflow_plugins" {
  description = "A plugin without @version gets the one that this version of Nextflow was released with."
  type        = list(string)
  default     = [[quotes .Plugins]]
}

variable "pull_images" {
  description = "Container images to have in the image, which the builder can pull without signing in."
  type        = list(string)
  default     = [[quotes .Pull]]
}

variable "agent_url" {
  description = "Where to fetch Wherry's agent; empty: machines fetch it when they boot."
  type        = string
  default     = [[quote .AgentURL]]
}

variable "agent_sha256" {
  type    = string
  default = [[quote .AgentSHA256]]
}

locals {
  machine = { amd64 = "x86_64", arm64 = "arm64" }[var.arch]
  builder = { amd64 = "m6i.large", arm64 = "m6g.large" }[var.arch]
  base    = var.gpu ? "al2023-ami-ecs-gpu-hvm-*" : "al2023-ami-ecs-hvm-*"
  name    = "wherry-nextflow-${var.nextflow_version}-${local.machine}${var.gpu ? "-gpu" : ""}"
  tags = {
    Name                = local.name
    "wherry:nextflow"   = var.nextflow_version
    "wherry:base-image" = "{{ .SourceAMIName }}"
  }
}

source "amazon-ebs" "wherry" {
  region                    = var.region
  ami_name                  = "${local.name}-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  ami_description           = "For machines of Wherry"
  imds_support              = "v2.0"
  instance_type             = var.instance_type == null ? local.builder : var.instance_type
  subnet_id                 = var.subnet_id
  ssh_username              = "ec2-user"
  ssh_clear_authorized_keys = true

  source_ami_filter {
    filters = {
      name                = local.base
      architecture        = local.machine
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["amazon"]
    most_recent = true
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = var.disk_gib
    delete_on_termination = true
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  run_tags      = { Name = "build of ${local.name}" }
  tags          = local.tags
  snapshot_tags = local.tags
}

build {
  sources = ["source.amazon-ebs.wherry"]

  provisioner "shell" {
    inline_shebang  = "/bin/bash"
    execute_command = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    environment_vars = [
      "NEXTFLOW_VERSION=${var.nextflow_version}",
      "NEXTFLOW_PLUGINS=${join(",", var.nextflow_plugins)}",
      "PULL_IMAGES=${join(" ", var.pull_images)}",
      "AGENT_URL=${var.agent_url}",
      "AGENT_SHA256=${var.agent_sha256}",
      [[quote (printf "WHERRY_VERSION=%s" .WherryVersion)]],
    ]
    inline = [<<PREPARE
[[.Script]]PREPARE
    ]
  }

  post-processor "manifest" {
    output = "wherry-image.json"
  }
}
