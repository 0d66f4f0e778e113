# shellcheck shell=bash disable=SC2154
# Nobody locks themselves out: changes come back unless they are confirmed, and the gate can be taken away.

# Other policies: web is closed to all but others, and 9100 is managed.
other_policies() {
  mkdir -p "$world/other"
  cat >"$world/other/other.yaml" <<'YAML'
policies:
  - { name: ssh, ports: [22/tcp] }
  - { name: web, ports: [8080/tcp], allowed_sources: [203.0.113.0/24] }
  - { name: data, ports: [7000/udp] }
  - { name: vault, ports: [9000/tcp, 9001/udp] }
  - { name: extra, ports: [9100/tcp] }
YAML
}
try_other_policies() { # SECONDS
  other_policies
  serve_tcp 8080
  serve_tcp 9100
  start_agent
  before=$(<"$world/policy.d/all.yaml")
  ask web --from "$client4" --for 60s >/dev/null
  let_in "$host4" 9100
  refused 77 as alice sallyport policy apply "$world/other" --confirm-within "$1"
  as ada sallyport policy apply "$world/other" --confirm-within "$1" >"$world/answer"
  grep -q 'unless confirmed' "$world/answer" || fail "nothing says what comes: $(<"$world/answer")"
  kept_out "$host4" 9100
  [[ ! -e $world/policy.d/all.yaml && -e $world/policy.d/other.yaml ]] || fail "the files are not the new ones"
}
old_policies_are_back() {
  let_in "$host4" 9100
  let_in "$host4" 8080
  [[ $(<"$world/policy.d/all.yaml") == "$before" && ! -e $world/policy.d/other.yaml ]] || fail "the old files are not back"
  as ada sallyport log --event policies-rolled-back | grep 'not confirmed in time' >/dev/null ||
    fail "the audit trail does not tell of it"
  sallyport status >"$world/answer"
  ! grep 'policy confirm' "$world/answer" || fail "the status still waits"
}
rolled_back() { [[ -e $world/policy.d/all.yaml ]]; }

policies_that_nobody_confirms_are_rolled_back() {
  try_other_policies 8s
  # What is tried ends nothing: that could not be rolled back.
  let_in "$host4" 8080
  sallyport status | grep 'policies applied by ada: rolled back at .* unless confirmed' >/dev/null ||
    fail "the status does not say that it waits"
  refused 65 as ada sallyport policy apply "$world/other"
  grep -q 'waits until .* for its confirmation' "$world/answer" || fail "not why: $(<"$world/answer")"
  refused 65 as ada sallyport policy set vault --max-duration 1h
  refused 65 as ada sallyport policy reload
  within 15 rolled_back
  old_policies_are_back
}

policies_that_nobody_confirms_are_rolled_back_though_the_agent_dies() {
  try_other_policies 6s
  end_agent KILL
  start_agent
  # Within the time they are armed, and the time goes on.
  kept_out "$host4" 9100
  end_agent KILL
  on_host nft delete table inet sallyport
  sleep 6
  start_agent
  old_policies_are_back
  let_in "$host4" 8080
  kept_out "$host4" 9000
}

confirmed_policies_stay() {
  try_other_policies 60s
  as ada sallyport policy confirm >"$world/answer"
  grep -q '^ended: ' "$world/answer" || fail "what is no longer allowed did not end: $(<"$world/answer")"
  kept_out "$host4" 8080
  [[ $(sallyport status) != *'unless confirmed'* ]] || fail "it still waits"
  end_agent KILL
  start_agent
  kept_out "$host4" 9100
  kept_out "$host4" 8080
  refused 65 as ada sallyport policy confirm
  # Faults are all named, with the file as it was given, and change nothing.
  printf 'policies:\n  - { name: a, ports: [1/tcp, x], aprovals: 1 }\n' >"$world/bad.yaml"
  refused 65 as ada sallyport policy apply "$world/bad.yaml" --confirm-within 60s
  [[ $(grep -c '^  bad.yaml:2:' "$world/answer") -eq 2 ]] || fail "not every fault: $(<"$world/answer")"
  kept_out "$host4" 9100
}

# A command within a real SSH session of alice's, who comes from the client.
in_ssh() {
  ip netns exec client setpriv --reuid alice --regid people --init-groups -- env -i "PATH=$PATH" HOME=/run/home/alice \
    ssh -o ConnectTimeout=2 "$host4" "$@"
}
a_change_that_closes_ones_own_ssh_session_is_refused() {
  local narrow="policy set ssh --allowed-sources 203.0.113.0/24"
  sed -i 's/admin: .*/admin: [alice]/' "$world/sallyport.yaml"
  start_sshd
  start_agent
  ask ssh --from "$client4" --for 60s >/dev/null
  refused 65 in_ssh "$world/sallyport $narrow"
  grep -q "22/tcp to $client4" "$world/answer" || fail "not why: $(<"$world/answer")"
  grep -q -- --force "$world/answer" || fail "not what would be allowed: $(<"$world/answer")"
  # sudo takes the variable away from what it runs.
  refused 65 in_ssh "env -u SSH_CONNECTION -u SSH_CLIENT $world/sallyport $narrow; exit \$?"
  # An old variable, as in a terminal that was taken up again, is nobody's session.
  in_ssh "SSH_CONNECTION='$client4 1 $host4 22' $world/sallyport policy set ssh --max-duration 2h"
  kept_out "$host6" 22
  in_ssh "$world/sallyport $narrow --force"
  kept_out "$host4" 22
}

a_disarmed_gate_stays_away_until_it_is_armed() {
  local id
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  id=$(ask web --from "$client4" --for 60s)
  kept_out "$host4" 9000
  refused 77 as alice sallyport disarm
  as ada sallyport disarm >"$world/answer"
  grep -q 'THE GATE IS DISARMED' "$world/answer" || fail "it is not loud: $(<"$world/answer")"
  let_in "$host4" 9000
  told DISARMED ada
  refused 70 as alice sallyport status
  grep -q 'DISARMED: .*ada disarmed it' "$world/answer" || fail "the status is not loud: $(<"$world/answer")"
  refused 65 as alice sallyport open vault --from "$client4" --for 60s
  grep -q 'sallyport arm' "$world/answer" || fail "not why: $(<"$world/answer")"
  end_agent KILL
  start_agent
  let_in "$host4" 9000
  as alice sallyport close "$id" >/dev/null
  as ada sallyport arm
  kept_out "$host4" 9000
  kept_out "$host4" 8080
  ask web --from "$client4" --for 60s >/dev/null
  let_in "$host4" 8080
  [[ $(as ada sallyport log --json | grep -cE '"event" *: *"(dis)?armed"') -eq 2 ]] || fail "the audit trail lacks one"
}

# As `make install` does over SSH: a first start that arms nothing, and an arming that comes undone.
a_first_arming_that_nobody_confirms_comes_undone() {
  sed -i 's/admin: .*/admin: [alice]/' "$world/sallyport.yaml"
  install -m 0600 /dev/null "$state/disarmed.json"
  start_sshd
  start_agent
  let_in "$host4" 22
  # Nobody could come back in: so only who insists.
  refused 65 in_ssh "$world/sallyport arm --confirm-within 3s"
  grep -q break_glass "$world/answer" || fail "not what would be allowed: $(<"$world/answer")"
  in_ssh "$world/sallyport arm --confirm-within 8s --force" >"$world/answer"
  grep -q 'disarmed again at .* unless confirmed' "$world/answer" || fail "nothing says what comes: $(<"$world/answer")"
  kept_out "$host4" 22
  within 15 on_client perl "$here/traffic.pl" connect "$host4" 22 1
  refused 70 sallyport status
  # Confirmed from a new session, it stays.
  sallyport arm --confirm-within 60s
  ask ssh --from "$client4" --for 60s >/dev/null
  in_ssh "$world/sallyport policy confirm"
  end_agent KILL
  start_agent
  kept_out "$host6" 22
  [[ $(sallyport status) != *'unless confirmed'* ]] || fail "it still waits"
}

agent_ticks() { awk '{ print $14 + $15 }' "/proc/$agent_pid/stat"; }
is_armed() { on_host nft list table inet sallyport 2>/dev/null | grep "$client4" >/dev/null; }
is_closed() { ! on_client perl "$here/traffic.pl" connect "$host6" 8080 0.4; }
tampered() { sallyport log --event gate-tampered --json | grep -c '"event"'; }
# As on kernels before 6.9, where nothing keeps others from the table.
what_others_do_to_the_gate_is_undone_and_told() {
  local began ticks damage rows
  serve_tcp 8080
  start_agent --unowned
  ask web --from "$client4" --for 60s >/dev/null
  for damage in 'flush ruleset' 'delete table inet sallyport' 'flush chain inet sallyport judge' \
    'flush set inet sallyport grants4_32' 'insert rule inet sallyport judge drop' \
    "add element inet sallyport grants4_32 { 192.0.2.8 . tcp . 8080 timeout 1h }"; do
    on_host nft "$damage"
    within 3 is_armed
    # What was flushed may be all that is amiss.
    within 3 is_closed
    let_in "$host4" 8080
    ! on_host nft list table inet sallyport | grep 192.0.2.8 || fail "what was added stays: $damage"
  done
  sallyport log --event gate-tampered | grep 'nft (process .*) deleted' >/dev/null || fail "not who did what"
  # A storm: a command a line, each of them a transaction.
  began=$EPOCHREALTIME
  ticks=$(agent_ticks)
  for _ in {1..1000}; do echo 'flush ruleset'; done | on_host nft -i >/dev/null
  within 3 is_armed
  echo "1000 flushes in $((${EPOCHREALTIME/./} - ${began/./})) us: $(($(agent_ticks) - ticks)) ticks of 10 ms"
  let_in "$host4" 8080
  within 15 bash -c "sallyport log --event gate-tampered | grep 'more times in'"
  rows=$(tampered)
  [[ $rows -le 3 ]] || fail "$rows rows tell of one storm"
  sallyport status >/dev/null
  # Killed and flushed, it comes back with what was open.
  end_agent KILL
  on_host nft flush ruleset
  start_agent --unowned
  let_in "$host4" 8080
  kept_out "$host6" 8080
}

# What the agent tells a service manager whose watchdog barks after SECONDS, a line each in $world/notified.
with_watchdog() { # SECONDS
  # shellcheck disable=SC2016
  perl -MIO::Socket::UNIX -e '
    $| = 1;
    my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "bind: $!\n";
    while (defined $socket->recv(my $said, 4096)) { print "$said\n" }' "$world/notify" >"$world/notified" &
  within 5 test -S "$world/notify"
  export NOTIFY_SOCKET=$world/notify WATCHDOG_USEC=$(($1 * 1000000))
}
fed() { # COUNT: how often the watchdog was told that all is well, since the file was emptied
  [[ $(grep -c '^WATCHDOG=1$' "$world/notified") -ge $1 ]]
}
a_gate_that_cannot_be_armed_opens_nothing_and_is_told() {
  local thief
  serve_tcp 8080
  with_watchdog 1
  start_agent --unowned
  ask web --from "$client4" --for 60s >/dev/null
  within 5 fed 2
  grep -qx 'STATUS=gate armed' "$world/notified" || fail "the service manager does not know: $(<"$world/notified")"
  mkfifo "$world/nft"
  ip netns exec host nft -i <"$world/nft" >/dev/null 2>&1 &
  thief=$!
  exec {nft}>"$world/nft"
  # Another program takes the table, and the kernel keeps it for that one.
  echo 'delete table inet sallyport; add table inet sallyport { flags owner; }' >&"$nft"
  within 5 grep -q '^STATUS=THE GATE IS NOT ARMED' "$world/notified" || fail "not told: $(<"$world/notified")"
  : >"$world/notified"
  refused 70 sallyport status
  grep -q 'THE GATE IS NOT ARMED' "$world/answer" || fail "the status is not loud: $(<"$world/answer")"
  refused 70 as alice sallyport open web --from 198.51.100.9 --for 60s
  [[ $(as alice curl -s -o "$world/answer" -w '%{http_code}' --unix-socket /run/sallyport/sallyport.sock \
    -H 'content-type: application/json' -d '{"targets":["web"],"sources":["198.51.100.9"],"duration":"60s"}' \
    http://sallyport/v1/requests) == 503 ]] || fail "answered: $(<"$world/answer")"
  sleep 1.2
  ! fed 1 || fail "the watchdog was told that all is well"
  exec {nft}>&-
  wait "$thief"
  within 5 fed 1 || fail "the watchdog is not fed again"
  let_in "$host4" 8080
  kept_out "$host6" 8080
  sallyport status >/dev/null
  within 5 bash -c "sallyport log --event gate-rearmed | grep gate-rearmed" || fail "nothing tells that it is armed again"
}

break_glass_told() { [[ $(sallyport log --event break-glass-used --json | grep -c '"event"') -ge $1 ]]; }
break_glass_passes_are_told_also_those_while_the_agent_is_dead() {
  serve_tcp 9000
  echo "break_glass: { sources: [$client4/32] }" >>"$world/sallyport.yaml"
  with_watchdog 1
  start_agent
  let_in "$host4" 9000
  within 5 break_glass_told 1
  # A gate that is made anew counts from zero, and forgets nothing.
  let_in "$host4" 9000
  sallyport policy reload >/dev/null
  sallyport status | grep "$client4/32: 2 connections let in" >/dev/null || fail "the status does not count both"
  end_agent KILL
  let_in "$host4" 9000
  start_agent
  within 5 break_glass_told 2
  sallyport log --event break-glass-used | grep 'before the agent started' >/dev/null || fail "not told"
}
