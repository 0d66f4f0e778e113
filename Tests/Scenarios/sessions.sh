# shellcheck shell=bash disable=SC2154
# Established sessions: kept, and cut with their grant.

# An ssh session of alice's that echoes; session NAME, later alive NAME.
session() { # NAME [FROM [HOST]]
  mkfifo "$world/$1.in" "$world/$1.out"
  ip netns exec client setpriv --reuid alice --regid people --init-groups -- env -i "PATH=$PATH" \
    HOME=/run/home/alice ssh -o ConnectTimeout=2 ${2:+-b "$2"} "${3:-$host4}" cat \
    <"$world/$1.in" >"$world/$1.out" 2>/dev/null &
  declare -g "pid_$1=$!"
  # Held open for reading and writing by this shell, so that neither side sees an end.
  exec {fd}<>"$world/$1.in"
  declare -g "in_$1=$fd"
  exec {fd}<>"$world/$1.out"
  declare -g "out_$1=$fd"
  alive "$1"
}
alive() {
  local in=in_$1 out=out_$1 line
  echo "$1 $SECONDS" >&"${!in}"
  read -r -t 3 -u "${!out}" line || fail "session $1 is dead"
  [[ $line == "$1 "* ]] || fail "session $1 answered: $line"
}

an_ssh_session_outlives_arming_expiry_and_restart() {
  start_sshd
  # Before the gate is armed connection tracking does not run: to it, this session is unknown.
  session early
  start_agent
  alive early
  kept_out "$host4" 22
  ask ssh --from "$client4" --for 3s >/dev/null
  session granted
  sleep 3.2
  kept_out "$host4" 22
  alive granted
  alive early
  end_agent KILL
  alive granted
  start_agent
  alive granted
  alive early
  kept_out "$host4" 22
}

# --- sessions that are cut

cut_policies() {
  cat >"$world/policy.d/all.yaml" <<'YAML'
policies:
  - { name: ssh, ports: [22/tcp], sessions: cut, max_active_per_requester: 1000 }
  - { name: web, ports: [8080/tcp], sessions: cut, max_active_per_requester: 1000 }
  - { name: data, ports: [7000/udp], max_active_per_requester: 1000 }
YAML
}
# As the unit runs it: with this privilege and no other.
# shellcheck disable=SC2034,SC2054 # of scenario.sh
bare_agent() { as_agent=(setpriv --bounding-set=-all,+net_admin); }
# end_of ID: when a live grant or those of a request end, in seconds since 1970.
end_of() {
  as ada sallyport list --json | perl -MJSON::PP -MTime::Local=timegm -e '
    for (@{decode_json(join "", <STDIN>)->{grants}}) {
      next unless $_->{id} eq $ARGV[0] || $_->{request} eq $ARGV[0];
      my ($y, $m, $d, $H, $M, $S) = $_->{expiresAt} =~ /(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)Z/;
      printf "%.3f\n", timegm(0, $M, $H, $d, $m - 1, $y) + $S;
      last;
    }' "$1"
}
# soon WHAT BEGAN WHEN: within 100 ms; a busy machine may take longer, once or twice.
late=0
soon() {
  local took
  took=$(perl -e 'printf "%.0f", ($ARGV[0] - $ARGV[1]) * 1000' "$3" "$2")
  echo "$1: $took ms"
  [[ $took -ge -20 ]] || fail "$1 ended $((-took)) ms too early"
  [[ $took -le 2000 ]] || fail "$1 took $took ms"
  [[ $took -le 100 ]] || late=$((late + 1))
  [[ $late -le 2 ]] || fail "three ends took more than 100 ms"
}
now() { perl -MTime::HiRes=time -e 'printf "%.4f\n", time'; }
# alone NAME: a session that lived is dead at the client's end.
dead() {
  local pid=pid_$1
  perl "$here/traffic.pl" gone 3 "${!pid}" >/dev/null || fail "session $1 lives"
}

an_ssh_session_ends_with_its_grant() {
  local id began ended pid
  start_sshd
  cut_policies
  bare_agent
  session early
  start_agent
  alive early
  ask ssh --from "$stranger4" --for 10m >/dev/null

  # Its time is over.
  id=$(ask ssh --from "$client4" --for 8s)
  session granted
  session other "$stranger4"
  began=$(end_of "$id")
  as alice sallyport sessions "$id" | grep -q "$client4" || fail "the session is not listed"
  pid=$pid_granted
  # The session that is older than the gate comes from there, too, and stays.
  ended=$(perl "$here/traffic.pl" gone 12 "$pid")
  soon "ssh at the client, at the end of its time" "$began" "$ended"
  alive early
  alive other

  # It is closed.
  id=$(ask ssh --from "$client4" --for 10m)
  session closed
  pid=$pid_closed
  perl "$here/traffic.pl" gone 8 "$pid" >"$world/ended" &
  local watch=$!
  began=$(now)
  as alice sallyport close "$id" >/dev/null
  wait "$watch"
  soon "ssh at the client, closed" "$began" "$(<"$world/ended")"
  alive early
  alive other
  kept_out "$host4" 22
  as ada sallyport log --event cut | grep -q "$client4" || fail "the trail does not tell of it"

  # At the service nothing is left of what was cut.
  [[ $(on_host ss -Htn state established "src $host4:22 and dst $client4" | wc -l) -eq 1 ]] ||
    fail "the service has more than the early session"
}

sessions_are_listed_and_cut_by_hand() {
  local id mine early other
  start_sshd
  bare_agent
  session early
  start_agent
  id=$(ask ssh --from "$client4" --for 10m)
  session mine
  as ada sallyport open ssh --from "$stranger4" --for 10m --json >/dev/null
  session other "$stranger4"
  session_id() { # WHO STANDING ADDRESS
    as "$1" sallyport sessions --json | perl -MJSON::PP -e '
      for (@{decode_json(join "", <STDIN>)->{sessions}}) {
        print "$_->{id}\n" if $_->{standing} eq $ARGV[0] && $_->{source} eq $ARGV[1];
      }' "$2" "$3"
  }
  mine=$(session_id vera granted "$client4")
  early=$(session_id vera earlier "$client4")
  other=$(session_id vera granted "$stranger4")
  [[ -n $mine && -n $early && -n $other ]] || fail "not all sessions are listed"
  [[ $(session_id alice granted "$client4") == "$mine" ]] || fail "alice does not see hers"
  [[ -z $(session_id alice earlier "$client4")$(session_id alice granted "$stranger4") ]] ||
    fail "alice sees sessions of others"
  refused 65 as alice sallyport cut "$other"
  refused 65 as alice sallyport cut "${mine%?}"
  refused 77 as vera sallyport cut "$mine"
  as alice sallyport cut "$mine" | grep -q "cut $mine" || fail "not cut"
  dead mine
  alive early
  alive other
  # The grant is still there; and with it its sessions go.
  session again
  as alice sallyport close --cut "$id" | grep -q "1 session" || fail "not told of the session"
  dead again
  alive early
  alive other
  # What outlives its grant is cut by who held it.
  id=$(ask ssh --from "$client4" --for 6s)
  session outlives
  pause_until "$(end_of "$id")"
  sleep 0.1
  alive outlives
  as vera sallyport sessions --json | grep -q outlived || fail "what outlives its grant is not listed as such"
  as ada sallyport cut "$(session_id vera outlived "$client4")" "$early" >/dev/null
  dead outlives
  dead early
  alive other
  [[ $(as ada sallyport log --event cut --json | grep -o '"event" *: *"cut"' | wc -l) -eq 4 ]] || fail "the trail lacks cuts"
}

a_killed_agent_leaves_no_session_whose_grant_is_over() {
  local id ended
  start_sshd
  cut_policies
  bare_agent
  start_agent
  ask ssh --from "$stranger4" --for 10m >/dev/null
  id=$(ask ssh --from "$client4" --for 8s)
  session granted
  session other "$stranger4"
  ended=$(end_of "$id")
  end_agent KILL
  pause_until "$ended"
  sleep 0.1
  # The service's end knows nothing of it; the kernel refuses the next packet.
  [[ $(on_host ss -Htn state established "dst $client4" | wc -l) -eq 1 ]] || fail "who ended it?"
  echo "anybody there?" >&"$in_granted"
  dead granted
  alive other
  # What no agent could end the next one does.
  start_agent
  within 5 bash -c "[[ -z \$(ip netns exec host ss -Htn state established 'dst $client4') ]]"
  alive other
}

container_network() {
  ip netns add container
  ip link add name bridge netns host type veth peer name uplink netns container
  ip -n host address add 10.88.0.1/24 dev bridge
  ip -n host address add fd88::1/64 dev bridge nodad
  ip -n host link set bridge up
  ip -n container address add 10.88.0.2/24 dev uplink
  ip -n container address add fd88::2/64 dev uplink nodad
  ip -n container link set uplink up
  ip -n container route add default via 10.88.0.1
  ip -n container -6 route add default via fd88::1
  on_host sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  on_host nft -f - <<NFT
table inet engine {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr $host4 tcp dport 8080 dnat to 10.88.0.2:80
    ip6 daddr $host6 tcp dport 8080 dnat to [fd88::2]:80
  }
}
NFT
  ip netns exec container perl "$here/traffic.pl" serve-tcp 80 &
}

sessions_to_a_published_port_end_with_their_grant() {
  local id began address client early other
  container_network
  cut_policies
  bare_agent
  within 5 on_client perl "$here/traffic.pl" connect "$host4" 8080 0.5
  ip netns exec client perl "$here/traffic.pl" hold "$host4" 8080 >"$world/early" &
  early=$!
  within 5 grep -q up "$world/early"
  start_agent
  as alice sallyport open web --from "$stranger4" --for 10m >/dev/null
  ip netns exec client perl "$here/traffic.pl" hold "$host4" 8080 "$stranger4" >"$world/other" &
  other=$!
  within 5 grep -q up "$world/other"
  for address in "$host4" "$host6"; do
    client=$client4
    [[ $address == "$host4" ]] || client=$client6
    id=$(ask web --from "$client" --for 3s)
    ip netns exec client perl "$here/traffic.pl" hold "$address" 8080 >"$world/held" &
    within 5 grep -q up "$world/held"
    as alice sallyport sessions "$id" | grep -q ":80 " || fail "the session is not listed with its service"
    began=$(end_of "$id")
    wait $!
    soon "a session of $client through a published port" "$began" "$(sed -n 's/ended //p' "$world/held")"
    # The service has closed its end: what is left are the early session, the other and none else.
    local left=2
    within 3 bash -c "[[ \$(ip netns exec container ss -Htn state established | wc -l) -eq $left ]]"
  done
  grep -q ended "$world/early" "$world/other" && fail "a session of others was ended"
  on_host nft list tables | grep -q sallyport-ended && within 5 bash -c "! ip netns exec host nft list tables | grep -q sallyport-ended"
  kill "$early" "$other"
}

datagrams_end_with_their_grant() {
  local id began refused
  start_agent # the default: sessions of UDP are cut where those of TCP are kept
  ip netns exec host perl "$here/traffic.pl" serve-udp 7000 >/dev/null &
  local server=$!
  within 5 bash -c "ip netns exec host ss -Hlun 'sport 7000' | grep -q 7000"
  for address in "$host4" "$host6"; do
    id=$(ask data --from "$client4" "$client6" --for 2s)
    began=$(end_of "$id")
    refused=$(on_client perl "$here/traffic.pl" refused "$address" 7000 5) || fail "datagrams go on to $address"
    soon "datagrams to $address" "$began" "$refused"
  done
  kill "$server"
}
