# shellcheck shell=bash disable=SC2154
# Packets that walk past simpler gates.

a_published_container_port_is_gated() {
  ip netns add container
  ip link add name bridge netns host type veth peer name uplink netns container
  ip -n host address add 10.88.0.1/24 dev bridge
  ip -n host link set bridge up
  ip -n container address add 10.88.0.2/24 dev uplink
  ip -n container link set uplink up
  ip -n container route add default via 10.88.0.1
  on_host sysctl -qw net.ipv4.ip_forward=1
  # As container engines publish port 8080: rewritten before routing, and never seen by an input chain.
  on_host nft -f - <<'NFT'
table ip engine {
  chain prerouting {
    type nat hook prerouting priority dstnat
    tcp dport 8080 dnat to 10.88.0.2:80
  }
}
NFT
  ip netns exec container perl "$here/traffic.pl" serve-tcp 80 &
  within 5 on_client perl "$here/traffic.pl" connect "$host4" 8080 0.5
  start_agent
  kept_out "$host4" 8080
  ask web --from "$client4" --for 60s >/dev/null
  let_in "$host4" 8080
}

datagrams_and_fragments_are_gated() {
  local server
  ip netns exec host perl "$here/traffic.pl" serve-udp 7000 >"$world/received" &
  server=$!
  start_agent
  on_client perl "$here/traffic.pl" flood "$host4" 7000 0.3 100 >/dev/null
  on_client perl "$here/traffic.pl" datagram "$host4" 7000 4000
  on_client perl "$here/traffic.pl" datagram "$host6" 7000 4000
  ask data --from "$client4" "$client6" --for 60s >/dev/null
  on_client perl "$here/traffic.pl" datagram "$host4" 7000 100
  on_client perl "$here/traffic.pl" datagram "$host4" 7000 4000
  on_client perl "$here/traffic.pl" datagram "$host6" 7000 4000
  sleep 0.3
  kill "$server"
  wait "$server"
  [[ $(<"$world/received") -eq 3 ]] || fail "3 granted datagrams sent, but received: $(<"$world/received")"
}

the_hosts_own_connections_pass() {
  # Its own port may be a managed one: replies to what the host itself began are let through.
  ip netns exec client perl "$here/traffic.pl" serve-tcp 5000 &
  within 5 on_host perl "$here/traffic.pl" connect "$client4" 5000 0.5
  start_agent
  on_host perl "$here/traffic.pl" connect "$client4" 5000 0.8 8080 ||
    fail "the host's own connection from port 8080 was cut"
  serve_tcp 9000
  kept_out "$host4" 9000
  on_host perl "$here/traffic.pl" connect 127.0.0.1 9000 0.5 || fail "loopback was cut"
}
