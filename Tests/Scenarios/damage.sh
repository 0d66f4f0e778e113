# shellcheck shell=bash disable=SC2154
# The state directory fails: nothing is opened that is not recorded, and nothing open is forgotten.

small_disk() { mount -t tmpfs -o size=32m,mode=0700 tmpfs "$state"; }
fill_disk() { dd if=/dev/zero of="$state/filler" bs=4k conv=notrunc oflag=append 2>/dev/null || true; }
# Until nothing can be written, not into what the ledger's files have to spare either.
fill_disk_and_ledger() {
  local i
  fill_disk
  # The ledger's files have room for some more: first for large requests, each of which replaces 750 grants,
  # then for small ones.
  for i in {1..60}; do
    sallyport open web ssh data --from 198.51.100.{1..250} --for 60s >"$world/answer" 2>&1 || break
  done
  for i in {1..200}; do
    # A log that grew and failed is cut to its size, which makes room: not twice in a row.
    sallyport open ssh --from "203.0.113.$i" --for 60s >"$world/answer" 2>&1 || {
      fill_disk
      sallyport open ssh --from "203.0.113.$i" --for 60s >"$world/answer" 2>&1 || break
    }
  done
  [[ $i -lt 200 ]] || fail "requests succeed although nothing can be written"
  cat "$world/answer"
}

a_full_disk_opens_nothing_and_recovers() {
  small_disk
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  fill_disk_and_ledger
  refused 70 as alice sallyport open vault --from "$client4" --for 60s
  kept_out "$host4" 9000
  let_in "$host4" 8080
  rm "$state/filler"
  within 5 as alice sallyport open vault --from "$client4" --for 60s
  let_in "$host4" 9000
}

close_on_a_full_disk() {
  small_disk
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  id=$(ask web --from "$client4" --for 60s)
  ask vault --from "$client4" --for 60s >/dev/null
  fill_disk_and_ledger
  as alice sallyport close "$id" || true
  kept_out "$host4" 8080
}
still_closed() {
  start_agent
  kept_out "$host4" 8080
  let_in "$host4" 9000
}
a_close_on_a_full_disk_outlives_a_stop() {
  close_on_a_full_disk
  end_agent TERM
  rm "$state/filler"
  still_closed
  within 5 as alice sallyport open web --from "$client4" --for 60s
  let_in "$host4" 8080
}
a_close_on_a_full_disk_outlives_a_crash_and_a_start_on_it() {
  close_on_a_full_disk
  end_agent KILL
  still_closed
  end_agent KILL
  rm "$state/filler"
  still_closed
  refused 65 as alice sallyport extend "$id" --for 10m
}

the_state_directory_is_deleted_while_the_agent_runs() {
  local id before
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  id=$(ask web --from "$client4" --for 60s)
  rm -rf "${state:?}"
  before=$EPOCHSECONDS
  refused 70 as alice sallyport open vault --from "$client4" --for 60s
  [[ $EPOCHSECONDS -lt $((before + 10)) ]] || fail "the refusal took too long"
  [[ $(as alice curl -s -o "$world/answer" -w '%{http_code}' --unix-socket /run/sallyport/sallyport.sock \
    -H 'content-type: application/json' -d "{\"targets\":[\"vault\"],\"sources\":[\"$client4\"],\"duration\":\"60s\"}" \
    http://sallyport/v1/requests) == 503 ]] || fail "answered: $(<"$world/answer")"
  kept_out "$host4" 9000
  let_in "$host4" 8080
  # What takes access away works all the same.
  as alice sallyport close "$id" || true
  kept_out "$host4" 8080
  told "$state"
}

the_socket_file_is_deleted_while_the_agent_runs() {
  start_agent
  rm /run/sallyport/sallyport.sock
  within 5 as alice sallyport list || fail "the socket does not come back"
  ask web --from "$client4" --for 60s >/dev/null
}

lost_rows_are_told_and_their_ids_are_not_given_again() {
  local id last
  serve_tcp 8080
  start_agent
  for _ in 1 2 3; do id=$(ask web --from 198.51.100.7 --for 60s); done
  truncate -s 0 "$state/ledger.sqlite-wal"
  end_agent KILL
  : >"$world/agent.log"
  start_agent
  told ledger rows
  last=$(ask web --from "$client4" --for 60s)
  [[ $last -gt $id ]] || fail "request $last after request $id"
  let_in "$host4" 8080
}

a_read_only_disk_at_the_start_changes_nothing() {
  local status=0
  small_disk
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
  grep -i armed "$world/corrupt.log" | grep -qi closed || fail "the agent did not say that the gate is armed and closed"
  kept_out "$host4" 9000
  [[ $(sha256sum <"$state/ledger.sqlite") == "$before" ]] || fail "the damaged ledger was touched"
  # As after a reboot: the kernel has no gate, and the ledger cannot be read.
  on_host nft delete table inet sallyport
  on_host timeout 5 sallyportd --config "$world/sallyport.yaml" >"$world/corrupt.log" 2>&1 || true
  kept_out "$host4" 9000
}
