# shellcheck shell=bash disable=SC2154
# The configuration is broken or gone: managed ports stay managed.

# As after a reboot: no agent, and no gate in the kernel.
reboot() {
  end_agent KILL
  on_host nft delete table inet sallyport
  let_in "$host4" 9000
  : >"$world/agent.log"
}

# survives_a_reboot FAULT COMMAND...: after the command has damaged the configuration and after a reboot the gate is
# armed from the last known good one; log and status name FAULT; requests are decided by what is armed.
survives_a_reboot() {
  local fault=$1
  shift
  serve_tcp 8080
  serve_tcp 9000
  start_agent
  ask web --from "$client4" --for 60s >/dev/null
  mkdir "$world/good"
  cp -r "$world/sallyport.yaml" "$world/policy.d" "$world/good"
  "$@"
  reboot
  start_agent --socket /run/sallyport/sallyport.sock --state-dir "$state"
  kept_out "$host4" 9000
  let_in "$host4" 8080
  told "$fault"
  refused 70 sallyport status
  grep -F "$fault" "$world/answer" || fail "the status does not say so: $(<"$world/answer")"
  refused 65 as alice sallyport open web --from "$client4" --for 5h
  ask vault --from "$client4" --for 60s >/dev/null
  let_in "$host4" 9000
  # Mended and reloaded, nobody complains any more.
  rm -rf "$world/sallyport.yaml" "$world/policy.d"
  cp -r "$world/good/." "$world"
  sallyport policy reload
  sallyport status >"$world/answer"
  ! grep -F "$fault" "$world/answer" || fail "the status still complains"
  let_in "$host4" 8080
}

break_policy_file() { echo 'policies: [{ name: web, ports: [8080/tcp], requestors: [alice] }]' >"$world/policy.d/all.yaml"; }
a_broken_policy_file_and_a_reboot_leave_the_ports_managed() { survives_a_reboot all.yaml break_policy_file; }

empty_policy_folder() { rm "$world/policy.d/all.yaml"; }
an_emptied_policy_folder_and_a_reboot_leave_the_ports_managed() { survives_a_reboot policy.d empty_policy_folder; }

missing_configuration() { rm "$world/sallyport.yaml"; }
a_missing_configuration_and_a_reboot_leave_the_ports_managed() { survives_a_reboot sallyport.yaml missing_configuration; }

# Root may read every file; a folder is none.
unreadable_configuration() { rm "$world/sallyport.yaml"; mkdir "$world/sallyport.yaml"; }
an_unreadable_configuration_and_a_reboot_leave_the_ports_managed() { survives_a_reboot sallyport.yaml unreadable_configuration; }

unreadable_from_the_first_the_ports_of_remote_access_are_closed() {
  local port
  for port in 22 3389 5985 5986 9000; do serve_tcp "$port"; done
  unreadable_configuration
  launch_agent --socket /run/sallyport/sallyport.sock --state-dir "$state"
  for port in 22 3389 5985 5986; do within 5 closed "$port" || fail "port $port is open"; done
  let_in "$host4" 9000
  told sallyport.yaml
}
closed() { ! on_client perl "$here/traffic.pl" connect "$host4" "$1" 0.4; }

nothing_is_armed_where_nothing_was_ever_configured() {
  local status=0
  serve_tcp 22
  rm -r "$world/sallyport.yaml" "$world/policy.d"
  on_host timeout 5 sallyportd --config "$world/sallyport.yaml" --state-dir "$state" >"$world/agent.log" 2>&1 || status=$?
  [[ $status -ne 0 && $status -ne 124 ]] || fail "the agent runs without a configuration"
  grep -q sallyport.yaml "$world/agent.log" || fail "the agent does not say what is missing"
  ! on_host nft list table inet sallyport 2>/dev/null || fail "a gate without a configuration"
  let_in "$host4" 22
}

a_session_outlives_the_reload_that_makes_its_port_managed() {
  sed -i '/name: ssh/d' "$world/policy.d/all.yaml"
  start_sshd
  # Nothing is sent from here on: connection tracking, which begins with the gate, does not know it.
  session idle
  start_agent
  session busy
  echo '  - { name: ssh, ports: [22/tcp] }' >>"$world/policy.d/all.yaml"
  sallyport policy reload
  kept_out "$host4" 22
  alive idle
  alive busy
  end_agent KILL
  start_agent
  alive idle
  alive busy
}

# By the real programs, with real packets: changed, narrowed, removed, and the same after a restart.
a_policy_changed_by_command_is_in_its_file_and_in_force() {
  local before
  serve_tcp 8080
  serve_tcp 9000
  serve_tcp 9100
  start_agent
  before=$(<"$world/policy.d/all.yaml")
  let_in "$host4" 9100
  ask web --from "$client4" --for 60s >/dev/null
  refused 77 as alice sallyport policy set web --max-duration 5m
  sallyport policy set extra --ports 9100/tcp --reason required
  kept_out "$host4" 9100
  [[ $(<"$world/policy.d/all.yaml") == "$before" ]] || fail "another file was written"
  # Narrowed, it ends what it allows no longer, and only that.
  let_in "$host4" 8080
  sallyport policy set web --allowed-sources 203.0.113.0/24 >"$world/answer"
  grep -q '^ended: ' "$world/answer" || fail "no grant was ended: $(<"$world/answer")"
  kept_out "$host4" 8080
  refused 65 sallyport policy set web --ports 9100/tcp
  end_agent KILL
  start_agent
  kept_out "$host4" 8080
  kept_out "$host4" 9100
  sallyport policy remove extra 2>"$world/answer"
  grep -q 'OPEN TO EVERYBODY: 9100/tcp' "$world/answer" || fail "nothing warns: $(<"$world/answer")"
  let_in "$host4" 9100
  sallyport policy check "$world/policy.d/all.yaml"
}

# So is a change that the agent was killed amid: it is in force, and has no row.
files_edited_while_the_agent_is_dead_are_told() {
  guard_web 1
  start_agent
  refused 75 as alice sallyport open web --from "$client4" --for 60s
  end_agent KILL
  sed -i 's/name: web,/name: web, allowed_sources: [198.51.100.0\/24],/' "$world/policy.d/all.yaml"
  start_agent
  # What waited and can open no more is denied with it.
  sallyport log --event configuration-loaded --json >"$world/answer"
  grep -E '"detail" *: *"4 policies; changed before the start; web: allowed_sources' "$world/answer" >/dev/null ||
    fail "the audit trail does not tell: $(<"$world/answer")"
  within 5 bash -c 'sallyport log --event denied | grep -F "no longer allows it"'
  end_agent KILL
  start_agent
  [[ $(sallyport log --event configuration-loaded --format jsonl | grep -c .) -eq 1 ]] || fail "it was told twice"
}
