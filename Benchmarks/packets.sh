#!/bin/bash
# Measures what a packet costs at the built agent's gate and prints one table, in nanoseconds: beside no firewall,
# beside a chain that does nothing but have packets tracked, and beside the best rules we could write by hand.
# Usage: packets.sh FOLDER     FOLDER: the built programs
set -euo pipefail
folder=$(realpath "${1:?usage: $0 FOLDER}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=Tests/Scenarios/world.sh
source "$here/../Tests/Scenarios/world.sh"
world_enter "$@"
world_programs "$folder"

rounds=1000
gcc -O2 -Wall -Wextra -D_GNU_SOURCE -o "$world/packets" "$here/packets.c"

# place NAME: a network namespace that packets.c sends to, and the one it sends from.
place() {
  ip netns add "$1"
  ip netns add "$1-far"
  ip link add name cable netns "$1" address 02:00:00:00:00:01 type veth \
    peer name cable address 02:00:00:00:00:02 netns "$1-far"
  ip -n "$1" link set lo up
  ip -n "$1" link set cable up
  ip -n "$1-far" link set cable up
  ip -n "$1" address add 192.0.2.1/24 dev cable
  ip -n "$1" neighbour add 192.0.2.7 lladdr 02:00:00:00:00:02 dev cable
  ip -n "$1" neighbour add 192.0.2.8 lladdr 02:00:00:00:00:02 dev cable
}

place open
place tracked
ip netns exec tracked nft -f - <<'NFT'
table inet tracked {
  chain prerouting {
    type filter hook prerouting priority mangle
    ct state invalid accept
  }
}
NFT
place byhand
ip netns exec byhand nft -f - <<'NFT'
table inet byhand {
  set grants {
    type ipv4_addr . inet_proto . inet_service
    flags timeout
    elements = { 192.0.2.7 . udp . 5000 timeout 1h, 192.0.2.8 . udp . 5000 timeout 1h, 192.0.2.8 . tcp . 22 timeout 1h }
  }
  chain managed {
    ct state established accept
    ip saddr . meta l4proto . th dport @grants accept
    drop
  }
  chain prerouting {
    type filter hook prerouting priority mangle
    meta l4proto . th dport vmap {
      tcp . 22 : goto managed, tcp . 3389 : goto managed, udp . 5000 : goto managed, udp . 5001 : goto managed }
  }
}
NFT
place sallyport
mkdir "$world/policy.d"
echo "policy_dir: $world/policy.d" >"$world/sallyport.yaml"
cat >"$world/policy.d/packets.yaml" <<'YAML'
policies:
  - { name: admin, ports: [22/tcp, 3389/tcp] }
  - { name: data, ports: [5000-5001/udp] }
YAML
ip netns exec sallyport sallyportd --config "$world/sallyport.yaml" --socket "$world/agent.sock" \
  --state-dir "$world/state" >"$world/agent.log" 2>&1 &
ask() { ip netns exec sallyport sallyport --socket "$world/agent.sock" "$@" >/dev/null; }
within 10 ask status || { cat "$world/agent.log" >&2; exit 1; }
ask open 5000/udp --from 192.0.2.7 192.0.2.8 --for 1h
ask open 22/tcp --from 192.0.2.8 --for 1h

places=(open tracked byhand sallyport)
for place in "${places[@]}"; do
  # What the host answers on its own account would end the flow that is to be measured.
  ip netns exec "$place" nft -f - <<'NFT'
table inet end {
  chain output {
    type filter hook output priority -300
    meta l4proto { tcp, icmp } drop
  }
}
NFT
  # Only where something tracks connections are there timeouts to raise.
  ip netns exec "$place" sysctl -qw net.netfilter.nf_conntrack_udp_timeout=3600 \
    net.netfilter.nf_conntrack_udp_timeout_stream=3600 net.netfilter.nf_conntrack_tcp_timeout_syn_sent=3600
done
"$world/packets" prime "${places[@]}"
for place in "${places[@]}"; do
  ip netns exec "$place" nft add chain inet end prerouting '{ type filter hook prerouting priority 0; policy drop; }'
done
"$world/packets" measure "$rounds" "${places[@]}" >"$world/costs"

echo "A packet on its way in, ns (median of $rounds bursts; the sending of it is in all numbers)"
row() { printf '%-34s %12s %10s %16s %10s   %s\n' "$@"; }
row kind 'no firewall' conntrack 'written by hand' sallyport 'difference'
declare -A name=(
  [unmanaged]='to an unmanaged port' [unmanaged-first]='to an unmanaged port, a new flow' [granted]='granted datagram'
  [granted-syn]='granted handshake' [established]='of an established flow' [refused]='refused'
)
while read -r kind open tracked byhand sallyport; do
  row "${name[$kind]}" "$open" "$tracked" "$byhand" "$sallyport" "$((sallyport - byhand)) beside by hand"
done <"$world/costs"
