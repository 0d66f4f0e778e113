# shellcheck shell=bash disable=SC2154
# The agent dies, comes back, reloads: nothing opens and nothing closes.

# steady_during COMMAND...: while the command runs, datagrams to a granted port all arrive and none to a closed one,
# and connections to a granted port all succeed and none to a closed one. Unanswered datagrams stay `new` to
# connection tracking, so that each is judged by the gate: a gap of a millisecond shows.
steady_during() {
  local seconds=4 granted closed floods=() tried greeted file
  serve_tcp 8080
  serve_tcp 9000
  ip netns exec host perl "$here/traffic.pl" serve-udp 7000 >"$world/granted" &
  granted=$!
  ip netns exec host perl "$here/traffic.pl" serve-udp 9001 >"$world/closed" &
  closed=$!
  start_agent
  ask web data --from "$client4" --for 60s >/dev/null
  # shellcheck disable=SC2016
  within 5 on_host bash -c '[[ $(ss -Hlun "( sport = :7000 or sport = :9001 )" | wc -l) -eq 2 ]]'
  on_client perl "$here/traffic.pl" flood "$host4" 7000 "$seconds" 2000 >"$world/sent-granted" &
  floods+=($!)
  on_client perl "$here/traffic.pl" flood "$host4" 9001 "$seconds" 2000 >"$world/sent-closed" &
  floods+=($!)
  on_client perl "$here/traffic.pl" hammer "$host4" 8080 "$seconds" 0.9 >"$world/hammer-granted" &
  floods+=($!)
  on_client perl "$here/traffic.pl" hammer "$host4" 9000 "$seconds" 0.05 >"$world/hammer-closed" &
  floods+=($!)
  "$@"
  wait "${floods[@]}"
  sleep 0.2
  kill "$granted" "$closed"
  wait "$granted" "$closed"
  for file in granted sent-granted closed sent-closed hammer-granted hammer-closed; do
    echo "$file: $(<"$world/$file")"
  done
  [[ $(<"$world/sent-closed") -gt 4000 && $(<"$world/sent-granted") -gt 4000 ]] || fail "too few datagrams sent"
  [[ $(<"$world/granted") -eq $(<"$world/sent-granted") ]] || fail "datagrams to the granted port were lost"
  [[ $(<"$world/closed") -eq 0 ]] || fail "datagrams came through to the closed port"
  read -r tried greeted _ <"$world/hammer-granted"
  [[ $tried -gt 20 && $greeted -eq $tried ]] || fail "connections to the granted port failed"
  read -r tried greeted _ <"$world/hammer-closed"
  [[ $tried -gt 20 && $greeted -eq 0 ]] || fail "connections came through to the closed port"
}

kill_and_restart() {
  local i
  for i in 1 2 3; do
    sleep 0.3
    end_agent KILL
    sleep 0.2
    start_agent
  done
  end_agent TERM
  start_agent
}
a_restart_has_no_open_and_no_closed_moment() { steady_during kill_and_restart; }

reload_under_load() {
  local i
  for i in {1..30}; do
    kill -s HUP "$agent_pid"
    sallyport open web --from "198.51.100.$i" --for 60s >/dev/null
  done
  as alice sallyport list --json | grep "$client4" >/dev/null || fail "the reload lost a grant"
}
a_reload_under_load_changes_nothing() { steady_during reload_under_load; }

meddle() {
  on_host nft flush ruleset || true
  sleep 0.3
  on_host nft delete table inet sallyport || true
  sleep 0.3
  on_host nft flush chain inet sallyport prerouting || true
  sallyport status >/dev/null || fail "the agent does not answer"
}
nobody_else_can_take_the_gate_away() {
  # Without table owners (Linux before 6.9) the gate comes back at once, but not without a moment's gap.
  sort -CV <<<$'6.9\n'"$(uname -r)" || exit 77
  steady_during meddle
}

a_killed_agent_leaves_the_port_closed_and_grants_expiring() {
  local asked
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  asked=$EPOCHREALTIME
  ask web --from "$client4" "$client6" --for 4s >/dev/null
  end_agent KILL
  let_in "$host4" 8080
  let_in "$host6" 8080
  kept_out "$host4" 9000
  kept_out "$host6" 9000
  pause_until "$(perl -e 'print $ARGV[0] + 4.6' "$asked")"
  kept_out "$host4" 8080
  kept_out "$host6" 8080
  start_agent
  kept_out "$host4" 8080
  as alice sallyport list --all --json | grep '"state" *: *"expired"' >/dev/null || fail "the ledger does not say expired"
}

a_stopped_agent_leaves_the_port_closed() {
  serve_tcp 9000
  start_agent
  end_agent TERM
  kept_out "$host4" 9000
  on_host nft list table inet sallyport >/dev/null || fail "the table is gone"
}

a_gate_deleted_while_the_agent_was_dead_comes_back_with_its_grants() {
  local asked
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  asked=$EPOCHREALTIME
  ask web --from "$client4" --for 6s >/dev/null
  end_agent KILL
  on_host nft delete table inet sallyport
  let_in "$host4" 9000
  start_agent
  kept_out "$host4" 9000
  let_in "$host4" 8080
  pause_until "$(perl -e 'print $ARGV[0] + 6.6' "$asked")"
  kept_out "$host4" 8080
}

a_second_agent_is_refused() {
  local first second=0
  serve_tcp 9000
  start_agent
  first=$agent_pid
  on_host timeout 10 sallyportd --config "$world/sallyport.yaml" >"$world/second.log" 2>&1 || second=$?
  [[ $second -ne 0 && $second -ne 124 ]] || fail "a second agent ran"
  [[ -s $world/second.log ]] || fail "the second agent did not say why"
  second=0
  on_host timeout 10 sallyportd --config "$world/sallyport.yaml" --state-dir "$world/other" \
    --socket "$world/other.sock" >"$world/second.log" 2>&1 || second=$?
  [[ $second -ne 0 && $second -ne 124 ]] || fail "a second agent with a ledger of its own ran"
  kill -0 "$first" || fail "the first agent is gone"
  sallyport status >/dev/null || fail "the first agent does not answer"
  kept_out "$host4" 9000
}

# ask_again_and_again CLIENT: opens for one source after the other; notes each request that was answered.
ask_again_and_again() {
  local number id
  for number in {1..120}; do
    id=$(ask web --from "10.0.$1.$number" --for 50m 2>/dev/null) || continue
    [[ -z $id ]] || echo "$id|10.0.$1.$number/32" >>"$world/answered-$1"
  done
}
ledger_says() { sqlite3 "$state/ledger.sqlite" "SELECT $1 FROM grants WHERE state = 'active'" | sort; }
killed_under_load_what_was_answered_is_open_and_nothing_else() {
  local client asking=()
  command -v sqlite3 >/dev/null || exit 77
  start_agent
  for client in 1 2 3; do
    ask_again_and_again "$client" &
    asking+=($!)
  done
  while kill -0 "${asking[@]}" 2>/dev/null; do
    sleep "0.$((RANDOM % 80 + 10))"
    end_agent KILL
    start_agent
  done
  wait "${asking[@]}"
  end_agent KILL
  start_agent
  on_host nft list table inet sallyport | grep -oE '10\.0\.[0-9.]+ \. tcp \. 8080 [^,}]*' >"$world/open"
  sort "$world"/answered-* >"$world/answered"
  echo "answered: $(wc -l <"$world/answered"), open: $(wc -l <"$world/open")"
  [[ $(wc -l <"$world/answered") -gt 50 ]] || fail "too few requests were answered"
  comm -23 "$world/answered" <(ledger_says "request || '|' || source") >"$world/lost"
  [[ ! -s $world/lost ]] || fail "answered but not in the ledger: $(<"$world/lost")"
  diff <(ledger_says "DISTINCT replace(source, '/32', '')" | sort -u) <(cut -d' ' -f1 "$world/open" | sort -u) ||
    fail "the kernel does not hold what the ledger says"
  # 50 minutes were granted.
  if grep -E 'expires ([0-9]+[dh]|5[1-9]m|50m[1-9])' "$world/open"; then fail "open for longer than granted"; fi
}
