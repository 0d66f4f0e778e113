# shellcheck shell=bash disable=SC2154
# The state directory fails: nothing is opened that is not recorded, and nothing open is forgotten.

a_full_disk_opens_nothing_and_recovers() {
  mount -t tmpfs -o size=2m,mode=0700 tmpfs "$state"
  refuses_while "dd if=/dev/zero of=$state/filler bs=4k" "rm $state/filler"
}

a_read_only_disk_opens_nothing_and_recovers() {
  mount -t tmpfs -o size=2m,mode=0700 tmpfs "$state"
  refuses_while "mount -o remount,ro $state" "mount -o remount,rw $state"
}

refuses_while() { # DAMAGE REPAIR
  local i
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  eval "$1" 2>/dev/null || true
  # A request or two may still fit into pages that the ledger already has.
  for i in {1..50}; do
    as alice sallyport open web --from "198.51.100.$i" --for 60s >"$world/answer" 2>&1 || break
  done
  [[ $i -lt 50 ]] || fail "requests succeed although nothing can be written"
  cat "$world/answer"
  refused 70 as alice sallyport open vault --from "$client4" --for 60s
  kept_out "$host4" 9000
  let_in "$host4" 8080
  eval "$2"
  within 5 as alice sallyport open vault --from "$client4" --for 60s
  let_in "$host4" 9000
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
