#!/usr/bin/env bash
# Fetches Nextflow's jars into the folder $1, and checks that they are the locked ones: each by its digest, none missing
# and none besides. The folder appears only when all is right.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
to=$1
part=$to.part
rm -rf "$part" && mkdir -p "$part"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$part" >&2
(cd "$part" && sha256sum --quiet --strict -c "$here/jars.sha256" >&2)
if ! diff <(cut -c67- "$here/jars.sha256" | sort) <(cd "$part" && printf '%s\n' *.jar | sort) >&2; then
  echo "the jars that came are not those of $here/jars.sha256" >&2
  exit 1
fi
rm -rf "$to" && mv "$part" "$to"
