# shellcheck shell=bash disable=SC2154
# Everything at once, for a while, against a model.

# SOAK_SECONDS: how long; SOAK_RATE: attempts of clients in a second.
soak() { # OPTION...
  command -v sqlite3 >/dev/null || exit 77
  local port
  cat >"$world/policy.d/all.yaml" <<'YAML'
policies:
  - { name: web, ports: [8080/tcp], max_duration: 1h, max_active_per_requester: 10000 }
  - { name: desk, ports: [8081/tcp], sessions: cut, max_active_per_requester: 10000 }
  - { name: data, ports: [7000/udp], max_active_per_requester: 10000 }
  - { name: vault, ports: [9000/tcp, 9001/udp], approvals: 2, max_active_per_requester: 10000 }
  - { name: spare, ports: [9005/tcp], description: number 0 }
YAML
  people_who_ask_and_answer
  # Every address of these ranges is the client's.
  ip -n client route add local 10.64.0.0/15 dev lo
  ip -n client route add local fd64::/15 dev lo
  ip -n host route add 10.64.0.0/15 via "$client4"
  ip -n host route add fd64::/15 via "$client6"
  for port in 8080 8081 9000 9005; do serve_tcp "$port"; done
  for port in 7000 9001; do ip netns exec host perl "$here/traffic.pl" echo-udp "$port" & done
  perl "$here/soak.pl" "${SOAK_SECONDS:-20}" "${SOAK_RATE:-200}" "$host4" "$host6" "$world/sallyport.yaml" "$state" "$world/agent.log" "$@" ||
    fail "soak.pl"
}
everything_at_once_agrees_with_a_model() { soak; }
everything_at_once_agrees_with_a_model_on_an_older_kernel() { soak --unowned; }
