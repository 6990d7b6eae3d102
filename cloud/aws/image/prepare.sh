# Makes the ECS-optimised Amazon Linux 2023 into an image for Wherry's machines: Docker at boot, no ECS agent, the CloudWatch
# agent, Java and Nextflow with its own dependencies, and container images. Any failure ends it, and no image is made.
#
# It reads NEXTFLOW_VERSION, NEXTFLOW_PLUGINS (separated by commas), PULL_IMAGES (separated by spaces, may be empty),
# AGENT_URL and AGENT_SHA256 (may be empty), and WHERRY_VERSION. It runs as root.
set -euo pipefail

home=/opt/wherry
marker=/etc/wherry/image.json

# The first boot installs updates; the package manager is locked until that is over. It ends with 2 for what it mended.
cloud-init status --wait >/dev/null || [ $? -eq 2 ]

dnf install -y -q java-17-amazon-corretto-headless amazon-cloudwatch-agent

systemctl enable docker
systemctl start docker
# Masked, because cloud-init starts the ECS agent even when it is disabled.
systemctl stop ecs
systemctl mask ecs
rm -rf /var/lib/ecs/data

# Without this command machines would run, and cost, for ever.
command -v shutdown >/dev/null || { echo "There is no shutdown command in this image." >&2; exit 1; }

# Nextflow: its launcher, which fetches the rest into NXF_HOME, and its plugins. A plugin without a version gets the one that
# this version of Nextflow was released with.
mkdir -p "$home/bin" "$home/nextflow"
curl -fsSL --retry 5 -o "$home/bin/nextflow" "https://github.com/nextflow-io/nextflow/releases/download/v$NEXTFLOW_VERSION/nextflow"
chmod 755 "$home/bin/nextflow"
export NXF_HOME="$home/nextflow" NXF_VER="$NEXTFLOW_VERSION"
trial=$(mktemp -d)
cd "$trial"
"$home/bin/nextflow" -version
"$home/bin/nextflow" plugin install "$NEXTFLOW_PLUGINS"
# All of it must be there now: a run that may fetch nothing fails if anything is missing.
echo 'println "ready"' >trial.nf
NXF_OFFLINE=true "$home/bin/nextflow" -q run trial.nf -plugins "$NEXTFLOW_PLUGINS"
cd /
rm -rf "$trial"

# The agent, if it is to be in the image. A machine uses it only while its portal has the same one.
if [ -n "${AGENT_URL:-}" ]; then
  curl -fsSL --retry 5 -o "$home/bin/agent" "$AGENT_URL"
  echo "$AGENT_SHA256  $home/bin/agent" | sha256sum -c - >/dev/null
  chmod 755 "$home/bin/agent"
fi

images=
for image in ${PULL_IMAGES:-}; do
  docker pull -q "$image"
  images="$images${images:+, }\"$image\""
done

# What is in the image, for whoever boots it. plain keeps what cannot break JSON.
plain() { tr -cd '[:alnum:] ._,:+-' | cut -c1-100; }
mkdir -p "$(dirname "$marker")"
cat >"$marker" <<JSON
{
  "format": 1,
  "wherry": "$WHERRY_VERSION",
  "built": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "nextflow": "$NEXTFLOW_VERSION",
  "nextflowCommand": "$home/bin/nextflow",
  "nextflowHome": "$home/nextflow",
  "plugins": "$(ls "$home/nextflow/plugins" | paste -s -d , | plain)",
  "java": "$(java -version 2>&1 | sed -n 's/.*version "\([^"]*\)".*/\1/p' | plain)",
  "docker": "$(docker --version | plain)",
  "cloudWatchAgent": "$(rpm -q amazon-cloudwatch-agent | plain)",
  "agentSHA256": "${AGENT_SHA256:-}",
  "images": [$images]
}
JSON

# What belongs to this one instance must not be in the image.
dnf clean all -q
rm -rf /var/lib/cloud/instances /var/lib/cloud/instance /var/log/ecs /root/.nextflow "$home/nextflow/tmp/launcher"
: >/etc/machine-id
sync
