# shellcheck shell=bash disable=SC2154
# What is seen of the gate: how grants were used, who was refused, and the figures for Prometheus.

# used ID PACKETS LAST-USE: what `list --all` tells of a grant.
used() {
  as vera sallyport list --all | grep "^$1 " >"$world/row" || fail "no grant $1"
  grep -E " $2  $3" "$world/row" >/dev/null || fail "not used $2 times, $3: $(<"$world/row")"
}

what_grants_let_in_is_kept_through_kills_and_ends() {
  serve_tcp 8080
  start_agent
  ask web --from "$client4" --for 60s
  ask web --from "$stranger4" --for 60s
  ask ssh --from "$client4" --for 60s
  let_in "$host4" 8080
  let_in "$host4" 8080
  used 1.1 2 '(now|[0-9]s ago)'
  used 2.1 0 'never used'
  as alice sallyport extend 1 --for 60s
  let_in "$host4" 8080
  used 1.1 3 '(now|[0-9]s ago)'
  end_agent KILL
  let_in "$host4" 8080
  start_agent
  used 1.1 4 '(now|[0-9]s ago)'
  let_in "$host4" 8080
  as alice sallyport close 1
  used 1.1 5 '(now|[0-9]s ago)'
  used 2.1 0 'never used'
  ask web --from "$client4" --for 2s
  let_in "$host4" 8080
  sleep 2.2
  used 4.1 1 '[0-9]s ago'
  end_agent TERM
  start_agent
  used 1.1 5 '[0-9]+s ago'
  used 4.1 1 '[0-9]+s ago'
  as vera sallyport list --all --json >"$world/list"
  grep '"firstUsedAt"' "$world/list" >/dev/null || fail "no first use in JSON"
  as vera sallyport log verify || fail "the audit trail does not verify"
}

heard() { as vera sallyport refused --since 1h | grep -E "^$client6/128 +8080/tcp +$host6 +web "; }
recorded() { as vera sallyport log --event attempts-refused | grep "web 8080/tcp from $client4/32"; }
who_is_refused_is_told() {
  serve_tcp 8080
  start_agent
  as vera sallyport refused >"$world/answer" 2>&1 || fail "nothing refused is a failure"
  grep 'nothing was refused' "$world/answer" >/dev/null || fail "something was refused: $(<"$world/answer")"
  kept_out "$host4" 8080
  kept_out "$host6" 8080
  within 5 heard || fail "not told: $(as vera sallyport refused)"
  as vera sallyport refused --json | grep "\"source\" : \"$client4/32\"" >/dev/null || fail "not in JSON"
  within 5 recorded ||
    fail "not in the trail: $(as vera sallyport log)"
  refused 77 as alice sallyport refused
  [[ $(figure 'sallyport_refused_attempts_total') -ge 2 ]] || fail "not counted"
  let_in_nobody_else
}
let_in_nobody_else() {
  ask web --from "$client4" --for 60s
  let_in "$host4" 8080
  kept_out "$host6" 8080
}

# figure NAME: its value at GET /v1/metrics.
figure() {
  as vera curl -sf --unix-socket /run/sallyport/sallyport.sock http://sallyport/v1/metrics >"$world/metrics" ||
    fail "no metrics"
  awk -v name="$1" '$1 == name { print $2 }' "$world/metrics"
}

the_figures_tell_what_happens() {
  start_agent
  [[ $(figure sallyport_gate_armed) == 1 ]] || fail "not armed"
  ask web --from "$client4" --for 60s
  refused 65 as alice sallyport open web --from 0.0.0.0/0 --for 5h
  [[ $(figure 'sallyport_grants{policy="web"}') == 1 ]] || fail "no grant"
  [[ $(figure 'sallyport_requests_total{outcome="opened"}') == 1 ]] || fail "no opening"
  [[ $(figure 'sallyport_requests_total{outcome="refused"}') == 1 ]] || fail "no refusal"
  [[ $(figure 'sallyport_open_duration_seconds_count') == 1 ]] || fail "no duration"
  if python3 -c 'import prometheus_client' 2>/dev/null; then
    python3 -c 'import sys; from prometheus_client.parser import text_string_to_metric_families as f
print(len(list(f(sys.stdin.read()))))' <"$world/metrics" || fail "Prometheus cannot read it"
  fi
  [[ $(as alice curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/sallyport/sallyport.sock \
    http://sallyport/v1/metrics) == 403 ]] || fail "a requester reads the metrics"
}
