# shellcheck shell=bash disable=SC2154
# A router between two networks: policies for hosts behind it.

inside4=10.9.0.2 other4=10.9.0.3 inside6=2001:db8:9::2

# Two hosts behind `host`, and services at both.
gateway_network() {
  ip netns add inside
  ip link add name inner netns host type veth peer name uplink netns inside
  local side
  for side in host inside; do
    ip netns exec "$side" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.ip_forward=1 \
      net.ipv6.conf.all.forwarding=1
    ip -n "$side" link set lo up
  done
  ip -n host link set inner up
  ip -n inside link set uplink up
  ip -n host address add 10.9.0.1/24 dev inner
  ip -n host address add 2001:db8:9::1/64 dev inner nodad
  ip -n inside address add "$inside4/24" dev uplink
  ip -n inside address add "$other4/24" dev uplink
  ip -n inside address add "$inside6/64" dev uplink nodad
  ip -n inside route add default via 10.9.0.1
  ip -n inside route add default via 2001:db8:9::1
  ip -n client route add default via "$host4"
  ip -n client route add default via "$host6"
  ip netns exec inside perl "$here/traffic.pl" serve-tcp 8080 &
  within 5 ip netns exec inside bash -c ': </dev/tcp/127.0.0.1/8080'
}

# shows PATTERN COMMAND...: what the command prints has it.
shows() {
  "${@:2}" >"$world/answer" || fail "ended with $?: ${*:2}"
  grep -q -- "$1" "$world/answer" || { cat "$world/answer"; fail "no $1 in the answer of ${*:2}"; }
}

a_router_opens_one_host_behind_it() {
  gateway_network
  serve_tcp 8080
  cat >"$world/policy.d/all.yaml" <<'YAML'
policies:
  - { name: web, ports: [8080/tcp] }
YAML
  start_agent
  # A policy without hosts is about the router itself.
  kept_out "$host4" 8080
  let_in "$inside4" 8080
  as ada sallyport policy set lab --ports 8080/tcp --hosts 10.9.0.0/24,2001:db8:9::/64 \
    --sessions cut >/dev/null || fail "the policy is refused"
  for address in "$inside4" "$other4" "$inside6"; do kept_out "$address" 8080; done

  refused 65 as alice sallyport open lab --from "$client4"
  grep -q "name one, like lab@10.9.0.0" "$world/answer" || fail "no hint: $(cat "$world/answer")"
  refused 65 as alice sallyport open "web@$inside4" --from "$client4"
  refused 65 as alice sallyport open "lab@$inside4" --from "$client6"
  local id
  id=$(ask "lab@$inside4" --from "$client4")
  let_in "$inside4" 8080
  kept_out "$other4" 8080
  kept_out "$host4" 8080
  [[ -n $(ask "8080/tcp@$inside6" --from "$client6") ]] || fail "no grant over IPv6"
  let_in "$inside6" 8080
  shows "8080/tcp@$inside4" as alice sallyport list
  shows "\"host\" *: *\"$inside4\"" as alice sallyport list --json
  shows "\"host\" *: *\"$inside4\"" as ada sallyport log --json
  as ada sallyport log verify >/dev/null || fail "the trail does not verify"

  # Grants and destinations outlive the agent.
  end_agent KILL
  let_in "$inside4" 8080
  start_agent
  let_in "$inside4" 8080
  kept_out "$other4" 8080

  # What a narrower policy does not allow ends; what it leaves is open to everybody, and it says so.
  as ada sallyport policy set lab --hosts 10.9.0.3/32 >"$world/answer" 2>&1
  grep -q "ended: .*$id.1" "$world/answer" || fail "nothing ended: $(cat "$world/answer")"
  grep -q "OPEN TO EVERYBODY: .*8080/tcp@10.9.0.0/24" "$world/answer" || fail "no warning"
  let_in "$inside4" 8080
  kept_out "$other4" 8080
}
