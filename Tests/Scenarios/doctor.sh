# shellcheck shell=bash disable=SC2154
# What else on the host closes what is granted, or leads past the gate.

# examined STATUS: vera looks at the host; what she sees is in $world/answer.
examined() { refused "$1" as vera sallyport doctor; }
found() { grep -qF -- "$1" "$world/answer" || { cat "$world/answer"; fail "not told: $1"; }; }
not_found() { ! grep -qF -- "$1" "$world/answer" || { cat "$world/answer"; fail "told: $1"; }; }

another_firewall_is_found_and_let_in_by_what_is_advised() {
  serve_tcp 8080
  start_agent
  examined 0
  not_found drops-granted
  on_host nft -f - <<'NFT'
table ip filter {
  chain INPUT {
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    tcp dport 80 accept
  }
}
NFT
  ask web --from "$client4" --for 60s >/dev/null
  kept_out "$host4" 8080
  examined 70
  found 'error drops-granted: ip filter INPUT'
  found '8080/tcp'
  # What it advises is what helps.
  local advice
  advice=$(grep -oE 'nft insert rule .* accept' "$world/answer") || fail "no advice"
  # shellcheck disable=SC2086
  on_host $advice
  examined 0
  not_found drops-granted
  let_in "$host4" 8080
}

a_firewall_on_the_way_to_a_host_behind_is_found() {
  gateway_network
  start_agent
  as ada sallyport policy set lab --ports 8080/tcp --hosts 10.9.0.0/24 >/dev/null \
    || fail "the policy is refused"
  ask "lab@$inside4" --from "$client4" --for 60s >/dev/null
  let_in "$inside4" 8080
  examined 0
  not_found drops-granted
  on_host nft -f - <<'NFT'
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
NFT
  kept_out "$inside4" 8080
  examined 70
  found 'error drops-granted: ip filter FORWARD'
  found "8080/tcp@$inside4"
  # Each step that is advised is needed, and both help.
  grep -oE 'nft insert rule ip filter FORWARD [^;]* accept' "$world/answer" | sed 's/:.*//' >"$world/advice"
  [[ $(wc -l <"$world/advice") -eq 2 ]] || fail "not two steps: $(<"$world/advice")"
  local step
  while read -r step; do
    kept_out "$inside4" 8080
    # shellcheck disable=SC2086
    on_host $step
  done <"$world/advice"
  let_in "$inside4" 8080
  examined 0
  not_found drops-granted

  on_host sysctl -qw net.ipv4.ip_forward=0
  kept_out "$inside4" 8080
  examined 70
  found 'error not-forwarded'
  on_host sysctl -qw net.ipv4.ip_forward=1
  examined 0
}

an_output_chain_that_keeps_the_answers_is_found() {
  serve_tcp 8080
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  let_in "$host4" 8080
  on_host nft -f - <<'NFT'
table ip filter {
  chain OUTPUT { type filter hook output priority filter; policy drop; ct state new accept; }
}
NFT
  kept_out "$host4" 8080
  examined 70
  found 'error drops-granted: ip filter OUTPUT'
  local advice
  advice=$(grep -oE 'nft insert rule .* accept' "$world/answer") || fail "no advice"
  # shellcheck disable=SC2086
  on_host $advice
  let_in "$host4" 8080
  examined 0
}

a_way_past_the_number_is_judged_and_told() {
  serve_tcp 8080
  start_agent
  on_host nft -f - <<'NFT'
table ip nat {
  chain PREROUTING {
    type nat hook prerouting priority dstnat;
    tcp dport 9999 redirect to :8080
  }
}
NFT
  local handle
  handle=$(on_host nft -a list chain ip nat PREROUTING | sed -nE 's/.*redirect.*# handle ([0-9]+)/\1/p')
  kept_out "$host4" 8080
  kept_out "$host4" 9999
  examined 0
  found "note judged-behind: ip nat PREROUTING handle $handle"
  ask web --from "$client4" --for 60s >/dev/null
  let_in "$host4" 9999
  on_host nft delete rule ip nat PREROUTING handle "$handle"
  examined 0
  not_found judged-behind
}

what_listens_is_discovered_in_three_states() {
  serve_tcp 8080
  serve_tcp 8888
  start_agent
  as vera sallyport discover >"$world/answer"
  grep -qE '^8080/tcp +Configured +web ' "$world/answer" || fail "8080 is managed: $(<"$world/answer")"
  grep -qE '^8888/tcp +Not configured ' "$world/answer" || fail "8888 is not: $(<"$world/answer")"
  found 'ports: [8888/tcp]'
  as vera sallyport discover --json >"$world/answer"
  found '"state" : "Not configured"'
  # Requesters are told nothing of the host.
  refused 77 as alice sallyport discover
  refused 77 as alice sallyport doctor
  refused 77 as bob sallyport doctor
}
