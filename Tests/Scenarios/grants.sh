# shellcheck shell=bash disable=SC2154
# Opening, expiring, extending, closing; and who may do it.

the_kernel_opens_exactly_what_was_asked_and_closes_it_in_time() {
  local asked answered last early late
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  kept_out "$host4" 8080
  kept_out "$host6" 8080
  asked=$EPOCHREALTIME
  ask web --from "$client4" "$client6" --for 3s >"$world/id"
  answered=$EPOCHREALTIME
  let_in "$host4" 8080
  let_in "$host6" 8080
  kept_out "$host4" 9000
  if on_client curl -s -m 0.4 --http0.9 --interface "$stranger4" "http://$host4:8080"; then
    fail "another address was let in"
  fi
  read -r _ _ last < <(on_client perl "$here/traffic.pl" hammer "$host4" 8080 4 0.1)
  late=$(perl -e 'print $ARGV[0] > $ARGV[1] + 3' "$last" "$answered")
  [[ -z $late ]] || fail "let in at $last, later than 3 s after $answered"
  early=$(perl -e 'print $ARGV[0] < $ARGV[1] + 2.7' "$last" "$asked")
  [[ -z $early ]] || fail "kept out before its 3 s were over: last let in at $last, asked at $asked"
  kept_out "$host6" 8080
  as alice sallyport list --all --json | grep '"state" *: *"expired"' >/dev/null || fail "the ledger does not say expired"
}

a_closed_grant_is_closed_at_once() {
  local id
  serve_tcp 8080
  start_agent
  id=$(ask web --from "$client4" "$client6" --for 60s)
  let_in "$host4" 8080
  as alice sallyport close "$id"
  kept_out "$host4" 8080
  kept_out "$host6" 8080
  refused 65 as alice sallyport extend "$id" --for 10m
}

an_extended_grant_ends_at_its_new_end() {
  local id asked
  serve_tcp 8080
  start_agent
  asked=$EPOCHREALTIME
  id=$(ask web --from "$client4" --for 2s)
  as alice sallyport extend "$id" --for 2s
  pause_until "$(perl -e 'print $ARGV[0] + 2.8' "$asked")"
  let_in "$host4" 8080
  pause_until "$(perl -e 'print $ARGV[0] + 4.8' "$asked")"
  kept_out "$host4" 8080
}

two_grants_on_the_same_element_end_each_in_its_time() {
  local id
  serve_tcp 8080
  start_agent
  id=$(ask web --from "$client4" --for 60s)
  sallyport open web --from "$client4" --for 3s
  as alice sallyport close "$id"
  let_in "$host4" 8080
  sleep 3
  kept_out "$host4" 8080
}

policy_decides_who_may_ask() {
  serve_tcp 8080
  refused 69 as alice sallyport open web --from "$client4" --for 5s
  start_agent
  refused 77 as bob sallyport open web --from "$client4" --for 5s
  refused 65 as alice sallyport open web --from 0.0.0.0/0 --for 5h
  grep -q '/24' "$world/answer" || fail "the answer does not name the widest source"
  grep -q '1h' "$world/answer" || fail "the answer does not name the longest duration"
  refused 64 as alice sallyport open
  kept_out "$host4" 8080
}

requests_at_once_are_all_served() {
  local jobs=() job
  start_agent
  for job in {1..40}; do
    sallyport open web --from "198.51.100.$job" --for 60s >/dev/null &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || fail "a request failed"; done
  [[ $(on_host nft list table inet sallyport | grep -o '198\.51\.100\.[0-9]*' | sort -u | wc -l) -eq 40 ]] ||
    fail "not all of them are in the kernel"
}
