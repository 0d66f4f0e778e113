# shellcheck shell=bash disable=SC2154
# Many people at work, and the agent dies or the disk is full in the middle of it.

storm() {
  STORM_DISK=${disk:-} timeout 60 perl "$here/storm.pl" "$1" "$world/told" "${@:2}" || fail "storm.pl $1"
}
dies() { storm work "$1" kill -9 "$agent_pid"; wait "$agent_pid" 2>/dev/null || true; }
# While the agent is dead: the ledger is read from a copy, for reading it may change it.
nothing_but_what_is_recorded_is_open() {
  rm -rf "$world/copy"
  mkdir "$world/copy"
  cp "$state"/ledger.sqlite "$state"/ledger.sqlite-wal "$world/copy"
  storm dead "$world/copy/ledger.sqlite"
}
people_who_ask_and_answer() {
  # One of the approvers asks, too.
  sed -i 's/"group:sallyport"\]/"group:sallyport", bob]/; s/"group:sallyport-approver"\]/"group:sallyport-approver", bob]/' \
    "$world/sallyport.yaml"
}
busy_agent() {
  sed -i 's/name: vault,/name: vault, approvals: 2, max_active_per_requester: 1000,/' "$world/policy.d/all.yaml"
  echo '  - { name: spare, ports: [9005/tcp], description: number 0 }' >>"$world/policy.d/all.yaml"
  people_who_ask_and_answer
  start_agent
}

killed_amid_a_thousand_operations_everything_agrees() {
  command -v sqlite3 >/dev/null || exit 77
  busy_agent
  for _ in {1..6}; do
    dies "$((145 + RANDOM % 50))"
    nothing_but_what_is_recorded_is_open
    start_agent
    storm check "$state/ledger.sqlite"
  done
}

# Now nothing can be written, now some pages, so that it ends amid a transaction.
crumbs() {
  while :; do
    truncate -s "-$((RANDOM % 6 * 4))k" "$state/filler"
    sleep "0.0$((RANDOM % 10))"
    fill_disk
  done
}
on_a_full_disk_everything_agrees() {
  local filling disk=full
  command -v sqlite3 >/dev/null || exit 77
  small_disk
  busy_agent
  storm work 60 true
  fill_disk_and_ledger
  crumbs &
  filling=$!
  dies 250
  kill "$filling"
  wait "$filling" 2>/dev/null || true
  nothing_but_what_is_recorded_is_open
  # The agent may or may not be able to start now, and lets in nobody either way.
  fill_disk
  launch_agent
  within 5 sallyport list || tail -n 1 "$world/agent.log" | grep -q 'no space is left' || fail "it does not say why"
  end_agent KILL
  nothing_but_what_is_recorded_is_open
  rm "$state/filler"
  start_agent
  storm check "$state/ledger.sqlite"
  grep -qE '"[a-z]+ 503"' "$world/told" || fail "the disk was never full"
}
