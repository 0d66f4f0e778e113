# shellcheck shell=bash disable=SC2154
# The state directory fails: nothing is opened that is not recorded, and nothing open is forgotten.

a_full_disk_opens_nothing_and_recovers() {
  local i
  mount -t tmpfs -o size=32m,mode=0700 tmpfs "$state"
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  dd if=/dev/zero of="$state/filler" bs=4k 2>/dev/null || true
  # The ledger's files have room for some more: first for large requests, each of which replaces 750 grants,
  # then for small ones.
  for i in {1..60}; do
    sallyport open web ssh data --from 198.51.100.{1..250} --for 60s >"$world/answer" 2>&1 || break
  done
  for i in {1..200}; do
    sallyport open ssh --from "203.0.113.$i" --for 60s >"$world/answer" 2>&1 || break
  done
  [[ $i -lt 200 ]] || fail "requests succeed although nothing can be written"
  cat "$world/answer"
  refused 70 as alice sallyport open vault --from "$client4" --for 60s
  kept_out "$host4" 9000
  let_in "$host4" 8080
  rm "$state/filler"
  within 5 as alice sallyport open vault --from "$client4" --for 60s
  let_in "$host4" 9000
}

a_read_only_disk_at_the_start_changes_nothing() {
  local status=0
  mount -t tmpfs -o size=32m,mode=0700 tmpfs "$state"
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  end_agent KILL
  mount -o remount,ro "$state"
  on_host timeout 5 sallyportd --config "$world/sallyport.yaml" >"$world/read-only.log" 2>&1 || status=$?
  [[ $status -ne 0 && $status -ne 124 ]] || fail "the agent runs without a ledger"
  grep -q "$state" "$world/read-only.log" || fail "the agent did not say what is wrong: $(<"$world/read-only.log")"
  kept_out "$host4" 9000
  let_in "$host4" 8080
  mount -o remount,rw "$state"
  start_agent
  kept_out "$host4" 9000
  let_in "$host4" 8080
}

a_corrupt_ledger_is_told_and_left_alone() {
  local status=0 before
  serve_tcp 9000
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  end_agent TERM
  rm -f "$state"/*-wal "$state"/*-shm
  printf 'this is not a database, %.0s' {1..200} | dd of="$state/ledger.sqlite" conv=notrunc 2>/dev/null
  before=$(sha256sum <"$state/ledger.sqlite")
  on_host timeout 5 sallyportd --config "$world/sallyport.yaml" >"$world/corrupt.log" 2>&1 || status=$?
  [[ $status -ne 0 ]] || fail "the agent ended as if all were well"
  grep -q 'ledger' "$world/corrupt.log" || fail "the agent did not say what is wrong"
  kept_out "$host4" 9000
  [[ $(sha256sum <"$state/ledger.sqlite") == "$before" ]] || fail "the damaged ledger was touched"
  # As after a reboot: the kernel has no gate, and the ledger cannot be read.
  on_host nft delete table inet sallyport
  on_host timeout 5 sallyportd --config "$world/sallyport.yaml" >"$world/corrupt.log" 2>&1 || true
  kept_out "$host4" 9000
}
