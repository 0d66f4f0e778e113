#!/bin/bash
# The whole story with the real programs, in network namespaces that vanish with this script.
# Usage: demo.sh FOLDER, where the built programs are. Ends 0 only if every step went as it should.
set -euo pipefail
folder=$(realpath "${1:?usage: $0 FOLDER}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=Tests/Scenarios/world.sh
source "$here/../Tests/Scenarios/world.sh"
world_enter "$@"
world_programs "$folder"

bold='' plain=''
[[ ! -t 1 ]] || bold=$'\e[1m' plain=$'\e[0m'
said() { printf '\n%s\n' "$bold$*$plain"; }
failed() { printf '\ndemo failed: %s\n' "$*" >&2; [[ ! -s $world/agent.log ]] || tail -n 20 "$world/agent.log" >&2; exit 1; }
# shown PLACE COMMAND...: prints the command with its place, and runs it there as alice.
shown() {
  local place=$1 word line=
  shift
  for word in "$@"; do
    [[ $word =~ ^[a-zA-Z0-9_./:=@-]+$ ]] || word="'$word'"
    line+=" $word"
  done
  printf '%s$%s\n' "$place" "$line"
  ip netns exec "$place" setpriv --reuid alice --regid people --init-groups -- \
    env -i "PATH=$PATH" HOME=/run/home/alice TZ=UTC "$@"
}
# shellcheck disable=SC2016
login() { shown client ssh -o ConnectTimeout=1 "$1" 'echo "logged in as $USER, coming from ${SSH_CLIENT%% *}"'; }
let_in() { login "$1" || failed "ssh to $1 was not let in"; }
kept_out() {
  local status=0
  login "$1" 2>&1 || status=$?
  [[ $status -eq 255 ]] || failed "ssh to $1 should have been kept out, but ended with $status"
}

mkdir "$world/policy.d"
cat >"$world/sallyport.yaml" <<YAML
policy_dir: $world/policy.d
roles:
  requester: ["group:sallyport"]
  viewer: ["group:sallyport"]
YAML
cat >"$world/policy.d/ssh.yaml" <<'YAML'
policies:
  - name: ssh
    ports: [22/tcp]
    reason: required
    max_duration: 3h
YAML

said "Two machines, host ($host4, $host6) and client ($client4, $client6)."
echo "sshd runs on host, and so does the agent, with a policy for 22/tcp. Alice is in group sallyport."
start_sshd
on_host sallyportd --config "$world/sallyport.yaml" --state-dir "$world/state" >"$world/agent.log" 2>&1 &
within 10 on_host sallyport status || failed "the agent does not answer"

said "1. The port is closed, over IPv4 and IPv6."
kept_out "$host4"
kept_out "$host6"

said "2. Alice asks, and the kernel opens exactly that, for 6 seconds."
opened=$SECONDS
shown host sallyport open ssh --from "$client4" "$client6" --for 6s --reason 'disk full on host' ||
  failed "the request was refused"
let_in "$host4"
let_in "$host6"

said "3. What is open, as Sallyport and as the kernel see it."
shown host sallyport list
shown host sallyport status
echo 'host# nft list table inet sallyport'
on_host nft list table inet sallyport | tee "$world/table"
grep -q "$client4" "$world/table" || failed "the kernel's table does not hold the grant"

said "4. The time passes. Nobody closes anything: the kernel does."
sleep $((opened + 7 - SECONDS))
kept_out "$host4"
kept_out "$host6"
shown host sallyport list --all

said "Every step went as it should."
