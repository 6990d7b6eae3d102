#!/bin/bash
# Boot script of a machine. It arms the dead-man's timer, fetches the agent of its portal, starts it, and ends the machine
# when the agent has ended, whatever else happens. What is assigned here was decided by the portal.
{{range .}}{{.Name}}={{.Value}}
{{end}}
ROOT=${WHERRY_ROOT:-}
DIR=$ROOT/var/lib/wherry
IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
IMDS=${IMDS%/}
BOOTED=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
FAILURE=

say() { echo "wherry: $*"; }

# arm sets the dead-man's timer anew: without another word the machine ends.
arm() { shutdown -h "+$MINUTES" >/dev/null 2>&1; }

# guard arms the timer again whenever the agent has heard the portal, and ends the machine itself should the timer be lost.
# It counts its own minutes, so that a clock that jumps changes nothing.
guard() {
  local left=$MINUTES heard='' now
  while ((left > 0)); do
    sleep 60
    left=$((left - 1))
    now=$(stat -c %Y.%y "$DIR/heard" 2>/dev/null)
    if [[ $now != "$heard" ]]; then
      heard=$now left=$MINUTES
      arm
    fi
  done
  shutdown -h now
}

# json writes a text as a JSON string.
json() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=$(tr '\000-\037' ' ' <<<"$text")
  printf '"%s"' "${text% }"
}

# report posts a BootReport. The token is given by a pipe, because arguments can be read by every process.
report() {
  curl --silent --fail --connect-timeout 5 --max-time 10 --retry 2 --config - --header 'Content-Type: application/json' --data "$1" \
    "$PORTAL/agent/boot/$MACHINE" <<<"header = \"Authorization: Bearer $CLAIM_TOKEN\"" >/dev/null 2>&1
}

# step reports that something happened, beside the boot.
step() { report "{\"steps\":[{\"name\":$(json "$1"),\"at\":\"$2\"}]}" </dev/null & }

# finish ends the machine. It runs however the script ends.
finish() {
  trap '' EXIT HUP INT TERM
  if [[ -n $FAILURE ]]; then
    say "$FAILURE"
    report "{\"failure\":$(json "$FAILURE")}"
  fi
  [[ -z ${GUARD:-} ]] || kill "$GUARD" 2>/dev/null
  until shutdown -h now; do sleep 5; done
}

# right tells whether a file is the agent that the portal meant.
right() { [[ -x $1 ]] && echo "$DIGEST  $1" | sha256sum --check --status 2>/dev/null; }

# fetch gets the agent from the portal. It tries until the timer ends the machine: the portal may be about to come back.
fetch() {
  local pause=1 said='' why
  while :; do
    if why=$(curl --silent --show-error --fail --location --compressed --connect-timeout 10 --max-time 120 \
      --output "$DIR/agent.part" "$PORTAL/agent/download/$ARCH" 2>&1); then
      chmod 755 "$DIR/agent.part"
      if right "$DIR/agent.part"; then
        mv -f "$DIR/agent.part" "$DIR/agent"
        return
      fi
      why="what it sent is not the agent that belongs to this machine"
      if ((pause > 8)); then
        FAILURE="The agent that the portal sends is not the one that it announced (its digest differs). Launch the run again; if it goes on, something between the portal and the machine changes downloads."
        exit 1
      fi
      say "$why"
    elif [[ $why != "$said" ]]; then
      say "the portal at $PORTAL cannot be reached: $why"
      said=$why
    fi
    sleep "$pause"
    pause=$((pause < 8 ? pause * 2 : 15))
  done
}

# identify asks EC2 for the id of this instance (IMDSv2).
identify() {
  local token
  for _ in 1 2 3 4 5 6 7 8; do
    token=$(curl --silent --fail --max-time 2 --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/latest/api/token") &&
      INSTANCE=$(curl --silent --fail --max-time 2 --header "X-aws-ec2-metadata-token: $token" "$IMDS/latest/meta-data/instance-id") &&
      [[ -n $INSTANCE ]] && return
    sleep 1
  done
  FAILURE="The machine could not learn its own id from EC2's metadata service at $IMDS."
  exit 1
}

trap finish EXIT
trap 'exit 1' HUP INT TERM
arm
mkdir -p "$DIR"
guard </dev/null >/dev/null 2>&1 &
GUARD=$!
step booted "$BOOTED"

# The ECS agent of the image has no work here, and Docker is needed soon.
if [[ -z $ROOT ]] && command -v systemctl >/dev/null; then
  if systemctl cat ecs.service >/dev/null 2>&1; then systemctl stop --no-block ecs; fi
  if systemctl cat docker.service >/dev/null 2>&1; then systemctl start --no-block docker; fi
fi

identify
AGENT=$ROOT$BAKED
if ! right "$AGENT"; then
  AGENT=$DIR/agent
  right "$AGENT" || fetch
fi
step 'agent fetched' "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)"

: >>"$DIR/agent.log"
export HOME=${HOME:-/root}
WHERRY_AGENT_PORTAL_URL=$PORTAL WHERRY_AGENT_MACHINE=$MACHINE WHERRY_AGENT_INSTANCE=$INSTANCE \
  WHERRY_AGENT_CLAIM_TOKEN=$CLAIM_TOKEN WHERRY_AGENT_DIR=$DIR WHERRY_AGENT_LIFETIME=$LIFETIME \
  WHERRY_AGENT_BOOTED=$BOOTED WHERRY_AGENT_HEARD_FILE=$DIR/heard "$AGENT" >>"$DIR/agent.log" 2>&1 &
PID=$!
tail --lines=+1 --follow --pid="$PID" --sleep-interval=0.1 "$DIR/agent.log" 2>/dev/null & # for the console
CONSOLE=$!
wait "$PID"
STATUS=$?
wait "$CONSOLE"
if ((STATUS != 0)); then
  FAILURE="The agent ended with exit status $STATUS: $(tail --lines=1 "$DIR/agent.log" | cut -c 1-500)"
fi
