#!/usr/bin/env bash
# Runs every Fuzz function in turn for FUZZTIME (10s), and prints how many inputs each tried and how many of them were new. With
# arguments, only those whose names match one. What breaks one is left in testdata/fuzz beside its test: mend it, and keep the file.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
time=${FUZZTIME:-10s} failed=0
printf '%-28s %-30s %12s %8s %s\n' package fuzzer executions new result
while IFS=: read -r file name; do
  [ $# -gt 0 ] && [[ ! "$name" =~ $(IFS='|'; echo "$*") ]] && continue
  package=./$(dirname "${file#./}")
  output=$(go test "$package" -run '^$' -fuzz "^$name\$" -fuzztime "$time" 2>&1) && result=ok || result=FAILED
  # On a busy machine Go calls it a failure that the time was over while an input was tried.
  grep -q 'context deadline exceeded' <<<"$output" && ! grep -q 'Failing input' <<<"$output" && result=ok
  [ "$result" = ok ] || failed=1
  counts=$(grep -o 'execs: [0-9]*.*new interesting: [0-9]*' <<<"$output" | tail -1)
  printf '%-28s %-30s %12s %8s %s\n' "$package" "$name" "$(sed -n 's/^execs: \([0-9]*\).*/\1/p' <<<"$counts")" "${counts##* }" "$result"
  [ "$result" = ok ] || printf '%s\n' "$output" | tail -40
done < <(grep -rho --include='*_test.go' -H '^func Fuzz[A-Za-z0-9_]*' . | sed 's/func //' | sort)
exit $failed
