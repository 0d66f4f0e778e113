#!/bin/bash
# Measures the built agent and prints one table: what a user waits for, beside the floor under it on this machine
# in the same run (bench.c), beside `nft`, and beside the target.
# Usage: bench.sh FOLDER [--million | --quick | --listeners | --trail]
#   FOLDER: the built programs; --million: with 1,000,000 grants and as many events, too; --quick: without grants
#   only, in a minute; --listeners, --trail: only what listeners cost, or the 1,000,000 events
set -euo pipefail
folder=$(realpath "${1:?usage: $0 FOLDER [--million | --quick]}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=Tests/Scenarios/world.sh
source "$here/../Tests/Scenarios/world.sh"
world_enter "$@"
world_programs "$folder"

levels=(0 10000 100000)
restart_at=100000
rounds=60
idle_seconds=30
listeners=500 events=0
case ${2:-} in
  '') ;;
  --million) levels+=(1000000) events=1000000 ;;
  --quick) levels=(0) idle_seconds=0 ;;
  --listeners) levels=() idle_seconds=0 ;;
  --trail) levels=() idle_seconds=0 listeners=0 events=${EVENTS:-1000000} ;;
  *) echo "usage: $0 FOLDER [--million | --quick | --listeners | --trail]" >&2; exit 64 ;;
esac
largest=0
[[ ${#levels[@]} -eq 0 ]] || largest=${levels[-1]}

# On a real disk: /run is memory, and durability would cost nothing there.
disk=$(mktemp -d "$here/../.build/bench.XXXXXX")
socket=$disk/full.sock
# An agent makes its socket again where it is removed; as pid 1 this script ends all in its world but itself.
trap 'kill -KILL -1; sleep 0.2; rm -rf "$disk"' EXIT
gcc -O2 -Wall -Wextra -D_GNU_SOURCE -o "$disk/bench" "$here/bench.c" -lmnl -lnftnl

declare -A result
# measure KEY PLACE COMMAND...: files "name value..." lines of the output as result[KEY.name].
measure() {
  local key=$1 place=$2 name values
  shift 2
  ip netns exec "$place" "$@" >"$disk/out" || { tail -n 5 "$disk/agent.log" >&2; exit 1; }
  while read -r name values; do result[$key.$name]=$values; done <"$disk/out"
}
progress() { [[ ! -t 2 ]] || printf '\r\e[K%s' "$*" >&2; }

# start_agent KEY PLACE NAME [SOCKET [OPTION...]]: runs the agent NAME, and measures how long until it is armed and ready.
start_agent() {
  # shellcheck disable=SC2016
  measure "$1" "$2" "$disk/bench" restart "$disk/notify" /bin/bash -c \
    'exec sallyportd --config "$0/sallyport.yaml" --socket "$2" --state-dir "$0/$1" "${@:3}" >>"$0/agent.log" 2>&1' \
    "$disk" "$3" "${4:-$disk/$3.sock}" "${@:5}"
  agent=${result[$1.pid]}
}
resident_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$agent/status"; }
# One "thread count" a line; a thread may end or begin between two readings.
switches() { awk '/^Pid:/ { thread = $2 } /^voluntary_ctxt_switches:/ { print thread, $2 }' "/proc/$agent"/task/*/status; }
live_grants() { sallyport --socket "$socket" status --json | sed -nE 's/.*"liveGrants" *: *([0-9]+).*/\1/p'; }

# elements COUNT FIRST: as a file for nft -f, of the same form as the agent's.
elements() {
  [[ $1 -eq 0 ]] && return
  awk -v count="$1" -v n="$2" 'BEGIN {
    print "add element inet floor grants {"
    for (i = 0; i < count; i++) {
      source = int((n + i) / 64)
      printf "172.%d.%d.%d . tcp . %d timeout 43200s comment \"%d.1 root\",\n", 16 + int(source / 65536), int(source / 256) % 256,
        source % 256, 20000 + (n + i) % 64, source + 1
    }
    print "}" }'
}
fresh_floor() {
  on_client nft -f - <<'NFT'
table inet floor
delete table inet floor
table inet floor {
  set grants { type ipv4_addr . inet_proto . inet_service; flags timeout; counter; }
}
NFT
}

mkdir "$disk/policy.d"
cat >"$disk/sallyport.yaml" <<YAML
policy_dir: $disk/policy.d
roles: { requester: ["group:sallyport"] }
YAML
# The 64 ports to fill, over enough policies that one requester may hold 1,000,000 grants.
{
  echo 'policies:'
  echo '  - { name: ssh, ports: [22/tcp], max_active_per_requester: 100000 }'
  echo '  - { name: ends, ports: [7001-7002/tcp, 7004/udp], sessions: cut }'
  echo '  - { name: ends-behind, ports: [7003/tcp, 7005/udp], sessions: cut, hosts: [10.9.0.0/24] }'
  for ((port = 20000; port < 20064; port += 4)); do
    echo "  - { name: fill-$port, ports: [$port-$((port + 3))/tcp], max_duration: 24h, max_active_per_requester: 100000 }"
  done
} >"$disk/policy.d/bench.yaml"

# Queries of the audit trail by each filter and each two of them, with what many events have and what few have.
queries=() names=()
add_queries() {
  local filters=(event=opened event=extended user=worker7 user=root policy=fill-20040 source=172.16.99.99 request=4711
    since="$(date -u -d "-$1 seconds" +%FT%TZ)" until="$(date -u -d "-$(($1 - 1)) seconds" +%FT%TZ)")
  local i j
  for ((i = 0; i < ${#filters[@]}; i++)); do
    for ((j = i; j < ${#filters[@]}; j++)); do
      [[ $i -eq $j || ${filters[i]%%=*} != "${filters[j]%%=*}" ]] || continue
      names+=("${filters[i]}$([[ $i -eq $j ]] || echo " ${filters[j]}")")
      queries+=("/v1/audit?${filters[i]}$([[ $i -eq $j ]] || echo "&${filters[j]}")")
    done
  done
}
measure_trail() {
  local worker people=128
  for ((worker = 0; worker < people; worker++)); do
    echo "worker$worker:x:$((62000 + worker)):61011::/:/bin/false" >>/etc/passwd
  done
  progress "recording $events events"
  ip netns add trail
  start_agent trail trail trail /run/trail.sock
  measure trail trail "$disk/bench" trail /run/trail.sock "$events" 62000 61011 "$people"
  add_queries $((${result[trail.trail_ms]} / 2000 + 1))
  progress "asking for some of $events events"
  measure audit trail "$disk/bench" ask /run/trail.sock 7 "${queries[@]}"
  kill "$agent"
}

# Sessions of a service of this host, of one that is published here, and of one behind a gateway, in both directions.
measure_ends() {
  local place
  for place in served asking inner; do
    ip netns add "$place"
    ip -n "$place" link set lo up
  done
  ip link add name cable netns asking type veth peer name cable netns served
  ip link add name cable netns inner type veth peer name inside netns served
  ip -n asking address add 192.0.2.7/24 dev cable
  ip -n served address add 192.0.2.1/24 dev cable
  ip -n served address add 10.9.0.1/24 dev inside
  ip -n inner address add 10.9.0.2/24 dev cable
  ip -n served link set cable up
  ip -n served link set inside up
  ip -n asking link set cable up
  ip -n inner link set cable up
  ip -n asking route add default via 192.0.2.1
  ip -n inner route add default via 10.9.0.1
  # One host is sent six ICMP errors, and then one in a second: less than one round after the other brings.
  ip netns exec served sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0
  ip netns exec served nft -f - <<'NFT'
table ip nat { chain pre { type nat hook prerouting priority dstnat; tcp dport 7002 dnat to 10.9.0.2; }; }
NFT
  start_agent served served served
  measure ends served "$disk/bench" ends "$disk/served.sock" 10
  kill "$agent"
}

fresh_floor
# One agent without grants, in a network namespace of its own, and one to fill.
ip netns add empty
start_agent empty empty empty
start_agent full host full
result[rss.0]=$(resident_kib)
[[ $events -eq 0 ]] || measure_trail
if [[ ${#levels[@]} -gt 0 ]]; then
  progress 'mending what others damage'
  full=$agent
  ip netns add tampered
  start_agent tampered tampered tampered '' --unowned
  measure tampered tampered "$disk/bench" tamper "$disk/tampered.sock" 50
  kill "$agent"
  progress 'ending sessions'
  measure_ends
  agent=$full
fi
if [[ $listeners -gt 0 ]]; then
  progress "with $listeners listeners"
  measure told empty "$disk/bench" listeners "$disk/empty.sock" "$listeners" 5
fi
live=0 first=0
for level in "${levels[@]}"; do
  if [[ $level -gt $live ]]; then
    progress "opening grants up to $level"
    measure "$level" host "$disk/bench" fill "$socket" "$first" $((level - live))
    elements $((level - live)) $((first * 64)) | on_client nft -f -
    # The next requests start with sources of their own: the last one may have used only some ports of its last.
    first=$((first + (level - live) / 64 + 1))
    live=$level
    result[rss.$level]=$(resident_kib)
  fi
  progress "measuring with $level grants"
  measure "$level" client "$disk/bench" latency "$socket" "$disk/empty.sock" "$disk" "$rounds"
  if [[ $level -eq $restart_at ]]; then
    progress "restarting with $level grants"
    kill -KILL "$agent"
    while [[ -e /proc/$agent ]]; do sleep 0.02; done
    # As after a reboot: nothing is in the kernel.
    on_host nft delete table inet sallyport
    start_agent restart host full
    [[ $(live_grants) -eq $level ]] || { echo "after the restart $(live_grants) grants of $level are live" >&2; exit 1; }
    fresh_floor
    elements "$level" 0 >"$disk/elements.nft"
    began=$EPOCHREALTIME
    on_client nft -f "$disk/elements.nft"
    result[nft_file_ms]=$(awk "BEGIN { printf \"%.1f\", ($EPOCHREALTIME - $began) * 1000 }")
  fi
done
if [[ $idle_seconds -gt 0 ]]; then
  progress "idle for $idle_seconds s"
  sleep 2
  switches >"$disk/before"
  sleep "$idle_seconds"
  switches >"$disk/after"
  result[idle]=$(awk -v seconds="$idle_seconds" 'NR == FNR { before[$1] = $2; next } { n += $2 - before[$1] }
    END { printf "%.2f", n / seconds }' "$disk/before" "$disk/after")
fi
progress ""

# --- the table: what | measured | beside what | ratio | target
row() { printf '%-46s %12s  %-30s %8s  %s\n' "$@"; }
ratio() { awk "BEGIN { printf \"%.2f x\", $1 / $2 }"; }
ms() { awk "BEGIN { printf \"%.2f ms\", $1 / 1000 }"; }
column() { local values; read -ra values <<<"${result[$1]}"; echo "${values[$2]}"; }
compare() { # WHAT KEY COLUMN OTHER-NAME OTHER-KEY TARGET
  local mine other
  mine=$(column "$2" "$3")
  other=$(column "$5" "$3")
  row "$1" "$(ms "$mine")" "$4 $(ms "$other")" "$(ratio "$mine" "$other")" "$6"
}

declare -A what=(
  [flush]='a flushed ruleset' [table]='a deleted table' [deleted]='a deleted element' [added]='an added element'
  [local]='TCP of this host' [translated]='TCP, translated' [forwarded]='TCP, forwarded' [datagrams]='UDP of this host'
  [datagrams_behind]='UDP, forwarded'
)
echo "Sallyport on $(nproc) cores, Linux $(uname -r); floor: one netlink commit and one durable append of 512 bytes"
row what measured "beside (same run)" ratio target
for level in "${levels[@]}"; do
  compare "open, 1 client, $level grants, p50" "$level.single" 0 floor "$level.floor" '<= 2.0 x'
  compare "open, 1 client, $level grants, p99" "$level.single" 1 floor "$level.floor" '<= 3 x'
  compare "open, 1 client, $level grants, p50" "$level.single" 0 'nft add element' "$level.program" '-'
  compare "open, 64 clients, $level grants, p50" "$level.crowd" 0 floor "$level.floor" '-'
  compare "open, 64 clients, $level grants, p99" "$level.crowd" 1 floor "$level.floor" '-'
  row "open, 64 clients, $level grants, rate" "$(column "$level.rate" 1)/s" \
    "1 client $(column "$level.rate" 0)/s" "$(ratio "$(column "$level.rate" 1)" "$(column "$level.rate" 0)")" '>= 14000/s'
  row "open, 64 clients, $level grants, agent CPU" "$(column "$level.cpu" 1) us" \
    "1 client $(column "$level.cpu" 0) us" "$(ratio "$(column "$level.cpu" 1)" "$(column "$level.cpu" 0)")" '<= 55 us'
done
empty=${result[rss.0]} full=${result[rss.$largest]}
row "resident, no grants" "$((empty / 1024)) MiB" - - '< 40 MiB'
for way in flush table deleted added; do
  [[ ${#levels[@]} -gt 0 ]] || break
  row "mended after ${what[$way]}, p50" "$(ms "$(column "tampered.$way" 0)")" - - -
  row "mended after ${what[$way]}, p99" "$(ms "$(column "tampered.$way" 1)")" - - '<= 10 ms'
done
for way in local translated forwarded datagrams datagrams_behind; do
  for how in closed expired; do
    [[ ${#levels[@]} -gt 0 ]] || break 2
    row "$how to both ends knowing, ${what[$way]}" "$(ms "$(column "ends.${way}_$how" 1)")" \
      "median $(ms "$(column "ends.${way}_$how" 0)")" - '<= 100 ms'
  done
done
if [[ $listeners -gt 0 ]]; then
  row "open, 1 client, $listeners listening, p50" "$(ms "$(column told.heard 0)")" "nobody listening $(ms "$(column told.alone 0)")" \
    "$(ratio "$(column told.heard 0)" "$(column told.alone 0)")" '<= 1.3 x'
  row "open, 1 client, $listeners listening, p99" "$(ms "$(column told.heard 1)")" "nobody listening $(ms "$(column told.alone 1)")" \
    "$(ratio "$(column told.heard 1)" "$(column told.alone 1)")" '-'
fi
if [[ $events -gt 0 ]]; then
  slowest=1
  for ((i = 1; i <= ${#queries[@]}; i++)); do
    [[ $(column "audit.$i" 0) -le $(column "audit.$slowest" 0) ]] || slowest=$i
    [[ ${2:-} != --trail ]] || row "audit, ${names[i - 1]}" "$(ms "$(column "audit.$i" 0)")" "$(column "audit.$i" 1) bytes" - '<= 50 ms'
  done
  row "audit of $events events, slowest query" "$(ms "$(column "audit.$slowest" 0)")" "${names[slowest - 1]}" - '<= 50 ms'
fi
[[ $largest -gt 0 ]] || exit 0
compare "open, 1 client, $largest grants, p50" "$largest.single" 0 'no grants' "$largest.empty" '<= 1.3 x'
row "start to armed, $restart_at grants" "${result[restart.armed_ms]} ms" - - '<= 100 ms'
row "start to all restored, $restart_at grants" "${result[restart.restored_ms]} ms" "nft -f ${result[nft_file_ms]} ms" \
  "$(ratio "${result[restart.restored_ms]}" "${result[nft_file_ms]}")" '<= 1.5 x'
row "resident, $largest grants" "$((full / 1024)) MiB" "$(((full - empty) * 1024 / largest)) bytes a grant" - '-'
row "idle with $largest grants" "${result[idle]}/s" "wakeups of all threads" - '<= 1/s'
