#!/bin/bash
# Measures what a packet costs at the built agent's gate and prints tables, in nanoseconds: beside no firewall, beside
# a chain that does nothing but have packets tracked, and beside the best rules we could write by hand for the same job:
# sessions that are kept, sessions that are cut, and hosts behind a gateway. There are three grants; with 100,000 besides
# it is measured, too.
# Usage: packets.sh FOLDER [--million | --quick]
#   FOLDER: the built programs; --million: with 1,000,000 grants, too; --quick: with three only
set -euo pipefail
folder=$(realpath "${1:?usage: $0 FOLDER [--million | --quick]}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=Tests/Scenarios/world.sh
source "$here/../Tests/Scenarios/world.sh"
world_enter "$@"
world_programs "$folder"

rounds=1000
case ${2:-} in
  '') levels=(100000) ;;
  --million) levels=(100000 1000000) ;;
  *) levels=() ;;
esac
gcc -O2 -Wall -Wextra -D_GNU_SOURCE -o "$world/packets" "$here/packets.c"
gcc -O2 -Wall -Wextra -D_GNU_SOURCE -o "$world/bench" "$here/bench.c" -lmnl -lnftnl

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
grants='192.0.2.7 . udp . 5000 timeout 1h, 192.0.2.8 . udp . 5000 timeout 1h, 192.0.2.8 . tcp . 22 timeout 1h'
# by_hand NAME RULES: a place with rules written by hand for the managed ports.
by_hand() {
  place "$1"
  ip netns exec "$1" nft -f - <<NFT
table inet byhand {
  set grants {
    type ipv4_addr . inet_proto . inet_service
    flags timeout
    elements = { $grants }
  }
  set far {
    type ipv4_addr . ipv4_addr . inet_proto . inet_service
    flags timeout
    elements = { ${grants//192.0.2.[78]/& . 192.0.2.1} }
  }
  chain managed {
$2
  }
  map delivered {
    type inet_proto . inet_service : verdict
    elements = { tcp . 22 : goto managed, tcp . 3389 : goto managed, udp . 5000 : goto managed, udp . 5001 : goto managed }
  }
  chain delivered {
    meta l4proto . th dport vmap @delivered
  }
  # The same job: what is translated to a managed port, or comes by a VRF or a route of its own, is judged, too.
  chain input {
    type filter hook input priority mangle
    ct status dnat goto delivered
    meta sdif != 0 goto delivered
    ct state established accept
    fib daddr type unicast goto delivered
  }
  chain prerouting {
    type filter hook prerouting priority mangle
    $3 meta l4proto . th dport vmap {
      tcp . 22 : goto managed, tcp . 3389 : goto managed, udp . 5000 : goto managed, udp . 5001 : goto managed }
  }
}
NFT
}
established='ct state established accept'
granted='ip saddr . meta l4proto . th dport @grants accept'
# Of what is refused the agent's gate tells, so many in a second, and counts all of it.
refuse='limit rate 50/second burst 100 packets log group 21328
  counter drop'
refused="iif lo accept
  fib daddr type unicast accept
  $refuse"
by_hand keep-byhand "$established
  $granted
  $refused" ''
by_hand cut-byhand "$granted
  ct direction reply $established
  ct state established meta l4proto tcp reject with tcp reset
  ct state established reject
  $refused" ''
by_hand gateway-byhand "$established
  ip saddr . ip daddr . meta l4proto . th dport @far accept
  iif lo accept
  $refuse" 'ip daddr 192.0.2.0/24'

# by_agent NAME KEYS HOST COUNT: a place with an agent, its policies with more keys, and grants, COUNT of them besides
# those that are used.
by_agent() {
  place "$1"
  mkdir -p "$world/$1/policy.d"
  echo "policy_dir: $world/$1/policy.d" >"$world/$1/sallyport.yaml"
  {
    echo 'policies:'
    echo "  - { name: admin, ports: [22/tcp, 3389/tcp]$2 }"
    echo "  - { name: data, ports: [5000-5001/udp]$2 }"
    # The 64 ports to fill, over enough policies that one requester may hold 1,000,000 grants.
    for ((port = 20000; port < 20064; port += 4)); do
      echo "  - { name: fill-$port, ports: [$port-$((port + 3))/tcp], max_duration: 24h, max_active_per_requester: 100000$2 }"
    done
  } >"$world/$1/policy.d/packets.yaml"
  ip netns exec "$1" sallyportd --config "$world/$1/sallyport.yaml" --socket "$world/$1/agent.sock" \
    --state-dir "$world/$1/state" >"$world/$1/agent.log" 2>&1 &
  ask() { ip netns exec "$1" sallyport --socket "$world/$1/agent.sock" "${@:2}" >/dev/null; }
  within 10 ask "$1" status || { cat "$world/$1/agent.log" >&2; exit 1; }
  ask "$1" open "5000/udp$3" --from 192.0.2.7 192.0.2.8 --for 1h
  ask "$1" open "22/tcp$3" --from 192.0.2.8 --for 1h
  if [[ $4 -gt 0 ]]; then
    ip netns exec "$1" "$world/bench" fill "$world/$1/agent.sock" 0 "$4" "$3" >/dev/null
    # The gate does without it, and it may need a gigabyte.
    kill -KILL $!
    wait $! 2>/dev/null || true
    rm -rf "$world/$1/state"
  fi
}

modes=(keep cut gateway)
declare -A keys=([keep]=', udp_sessions: keep' [cut]=', sessions: cut'
  [gateway]=', udp_sessions: keep, hosts: [192.0.2.0/24]') host=([gateway]=@192.0.2.1)
places=(open tracked)
for mode in "${modes[@]}"; do
  places+=("$mode-byhand")
  for level in 0 "${levels[@]}"; do
    by_agent "$mode-$level" "${keys[$mode]}" "${host[$mode]:-}" "$level"
    places+=("$mode-$level")
  done
done
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
  # What a gateway forwards is not delivered here: there the way ends before it is routed.
  hook=input
  [[ $place != gateway* ]] || hook=prerouting
  ip netns exec "$place" nft add chain inet end "$hook" "{ type filter hook $hook priority 0; policy drop; }"
done
"$world/packets" measure "$rounds" "${places[@]}" >"$world/costs"

echo "A packet on its way in, ns (median of $rounds bursts; its sending is in all numbers; and its routing, but behind a gateway)"
declare -A name=(
  [unmanaged]='to an unmanaged port' [unmanaged-first]='to an unmanaged port, a new flow' [granted]='granted datagram'
  [granted-syn]='granted handshake' [established]='of an established flow' [refused]='refused datagram'
  [refused-syn]='refused handshake'
)
row() { printf "%-34s %12s %10s %16s %10s${levels[*]/*/ %10s}   %s\n" "$@"; }
each=$((2 + ${#levels[@]}))
for index in "${!modes[@]}"; do
  echo
  row "${modes[index]}" 'no firewall' conntrack 'written by hand' sallyport "${levels[@]}" 'difference'
  while read -r -a costs; do
    kind=${costs[0]} costs=("${costs[@]:1}")
    [[ ${modes[index]} != gateway ]] || costs[0]=- costs[1]=-
    mine=("${costs[@]:2 + each * index:each}")
    row "${name[$kind]}" "${costs[@]:0:2}" "${mine[@]}" "$((mine[1] - mine[0])) beside by hand"
  done <"$world/costs"
done
