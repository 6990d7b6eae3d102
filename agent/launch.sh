#!/usr/bin/env bash
# Runs the pre-run scripts, Nextflow and the post-run scripts of one run, in the launch folder. Written by Wherry's agent.
# It notes in the file "phases" how far it came, for the agent. The arguments are Nextflow's command line.
phase() { printf '%s\n' "$*" >>phases; }
trap 'phase "exit $?"' EXIT
trap : TERM INT # Nextflow is told by the agent; this shell stays to note how it ended
for script in pre-run-env.sh pre-run.sh; do
  [ -f "$script" ] || continue
  phase "pre-run $script"
  # Sourced, so that what it exports is there for Nextflow.
  . "./$script" || exit
done
phase nextflow
"$@" </dev/null &
nextflow=$!
phase "pid $nextflow"
while :; do
  wait "$nextflow"
  status=$?
  kill -0 "$nextflow" 2>/dev/null || break # a signal to this shell ends the wait, but not Nextflow
done
phase "ended $status"
for script in post-run.sh post-run-env.sh; do
  [ -f "$script" ] && [ ! -e cancelled ] || continue
  phase "post-run $script"
  (
    export NXF_EXIT_STATUS=$status
    . "./$script"
  ) || echo "The post-run script ended with exit status $?." >&2
done
exit "$status"
