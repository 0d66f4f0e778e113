#!/bin/bash
# Runs one scenario with the real programs and real packets, in a world of its own.
# Usage: scenario.sh NAME FOLDER     NAME: a function of the files beside this one; FOLDER: the built programs
# Exit: 0 as it should be, 77 cannot run here, else failure with the agent's log and the kernel's table.
set -euo pipefail
name=${1:?usage: $0 NAME FOLDER}
folder=$(realpath "${2:?usage: $0 NAME FOLDER}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=Tests/Scenarios/world.sh
source "$here/world.sh"
world_enter "$@"
world_programs "$folder"
for file in grants people approvals restarts sessions configuration lockout damage packets gateway seeing doctor storm soak; do
  # shellcheck source=/dev/null
  source "$here/$file.sh"
done

fail() {
  echo "FAILED: $*"
  exit 1
}
report() {
  local status=$?
  if [[ $status -ne 0 && $status -ne 77 ]]; then
    echo "ended with $status, last in: ${FUNCNAME[*]:1} ${BASH_LINENO[*]}"
    echo "--- the agent's log"
    tail -n 40 "$world/agent.log" || true
    echo "--- the kernel's table"
    on_host nft list table inet sallyport 2>&1 | head -n 80 || true
  fi
}
trap report EXIT

# --- the agent: 22/tcp, 8080/tcp and 7000/udp are asked for, 9000/tcp and 9001/udp never are.
state=$world/state
configure() {
  mkdir -p "$world/policy.d" "$state"
  chmod 0700 "$state"
  cat >"$world/sallyport.yaml" <<YAML
policy_dir: $world/policy.d
agent:
  state_dir: $state
roles:
  requester: ["group:sallyport"]
  approver: ["group:sallyport-approver"]
  admin: ["group:sallyport-admin"]
  viewer: ["group:auditors"]
YAML
  cat >"$world/policy.d/all.yaml" <<'YAML'
policies:
  - { name: ssh, ports: [22/tcp], max_active_per_requester: 1000 }
  - { name: web, ports: [8080/tcp], max_duration: 1h, max_active_per_requester: 1000 }
  - { name: data, ports: [7000/udp], max_active_per_requester: 1000 }
  - { name: vault, ports: [9000/tcp, 9001/udp] }
YAML
}
agent_pid=
as_agent=() # what runs the agent
start_agent() {
  launch_agent "$@"
  within 10 sallyport list || fail "the agent does not answer"
}
launch_agent() {
  ip netns exec host "${as_agent[@]}" sallyportd --config "$world/sallyport.yaml" "$@" >>"$world/agent.log" 2>&1 &
  agent_pid=$!
}
# told WORD...: the agent's log has a line of level warning or above with all of the words.
told() {
  local lines word
  lines=$(grep -Ei ' (warning|error|critical) ' "$world/agent.log") || fail "no warning in the log"
  for word in "$@"; do
    lines=$(grep -iF -- "$word" <<<"$lines") || fail "the log does not warn of $*"
  done
}
end_agent() { # SIGNAL
  kill -s "$1" "$agent_pid"
  wait "$agent_pid" 2>/dev/null || true
}
# ask TARGET... : alice opens; prints the id of her request.
ask() { as alice sallyport open "$@" --json | sed -nE 's/.*"id" *: *"([0-9]+)".*/\1/p' | head -n 1; }
# refused STATUS COMMAND...: the command must end with that exit status.
refused() {
  local wanted=$1 status=0
  shift
  "$@" >"$world/answer" 2>&1 || status=$?
  [[ $status -eq $wanted ]] || { cat "$world/answer"; fail "ended with $status instead of $wanted: $*"; }
}

# --- packets
serve_tcp() {
  on_host perl "$here/traffic.pl" serve-tcp "$1" &
  within 5 on_host bash -c ": </dev/tcp/127.0.0.1/$1"
}
let_in() { on_client perl "$here/traffic.pl" connect "$1" "$2" 3 || fail "$1 port $2 should be open"; }
kept_out() {
  if on_client perl "$here/traffic.pl" connect "$1" "$2" 0.4; then fail "$1 port $2 should be closed"; fi
}
pause_until() { sleep "$(perl -MTime::HiRes=time -e '$t = $ARGV[0] - time; print $t > 0 ? $t : 0' "$1")"; }

configure
"$name"
echo "ok: $name"
