#!/usr/bin/env bash
# Looks for known vulnerabilities in programs: vuln.sh PROGRAM... They must have their symbols, by which govulncheck tells what
# is called from what is only there. VULN_DB is the database. Fails for what is found. A database that cannot be reached fails nothing,
# and is said.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { sed -n 2,4p "${BASH_SOURCE[0]}" >&2; exit 2; }
db=${VULN_DB:-https://vuln.go.dev}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${GO:-go}" -C "$here/tools" build -o "$work/govulncheck" golang.org/x/vuln/cmd/govulncheck
for program in "$@"; do
  status=0
  timeout 60 "$work/govulncheck" -db "$db" -mode binary "$program" >"$work/found" 2>&1 || status=$?
  if [ "$status" = 124 ] || { [ "$status" = 1 ] && grep -q '^govulncheck: fetching vulnerabilities: ' "$work/found"; }; then
    echo "SKIPPED: the search for vulnerabilities in $program, because $db cannot be reached within a minute: $(tail -n 1 "$work/found")" >&2
    continue
  fi
  cat "$work/found"
  if [ "$status" != 0 ]; then
    echo "$program has known vulnerabilities, or could not be searched (govulncheck ended with $status)" >&2
    exit 1
  fi
done
