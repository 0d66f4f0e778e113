# shellcheck shell=bash disable=SC2154
# Established SSH sessions with `sessions: keep`.

# An ssh session of alice's that echoes; session NAME, later alive NAME.
session() {
  mkfifo "$world/$1.in" "$world/$1.out"
  ip netns exec client setpriv --reuid alice --regid people --init-groups -- env -i "PATH=$PATH" \
    HOME=/run/home/alice ssh -o ConnectTimeout=2 "$host4" cat <"$world/$1.in" >"$world/$1.out" &
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
