# shellcheck shell=bash disable=SC2154
# Every local user may connect; who they are decides the rest.

everyone_connects_and_roles_decide() {
  local id
  serve_tcp 8080
  start_agent
  id=$(ask web --from "$client4" --for 60s)
  # An admin who is not in the requesters' group.
  as ada sallyport status >/dev/null || fail "the admin cannot connect"
  as ada sallyport close "$id" || fail "the admin cannot close"
  kept_out "$host4" 8080
  ask web --from "$client4" --for 60s >/dev/null
  # A viewer sees, and may not ask.
  as vera sallyport status >/dev/null || fail "the viewer cannot connect"
  as vera sallyport list | grep "$client4" >/dev/null || fail "the viewer does not see the grant"
  refused 77 as vera sallyport open web --from "$client4" --for 60s
  refused 77 as vera sallyport close --all
  # A stranger is told why.
  refused 77 as bob sallyport status
  grep -q bob "$world/answer" || fail "the stranger is not named: $(<"$world/answer")"
  as bob curl -sv --unix-socket /run/sallyport/sallyport.sock http://sallyport/v1/status >"$world/answer" 2>&1 || true
  grep -q 'HTTP/1.1 403' "$world/answer" || fail "the stranger was not answered 403: $(<"$world/answer")"
  grep -q '"not-permitted"' "$world/answer" || fail "the stranger got no problem document"
  let_in "$host4" 8080
}

a_session_older_than_the_group_is_told_to_log_in_again() {
  start_agent
  refused 77 setpriv --reuid alice --regid people --clear-groups -- env -i "PATH=$PATH" \
    sallyport open web --from "$client4" --for 60s
  grep -Eqi 'log (in|out)' "$world/answer" || fail "the answer does not say so: $(<"$world/answer")"
}

strangers_connections_keep_nobody_out() {
  local i stranger
  start_agent
  mkfifo "$world/held"
  # shellcheck disable=SC2016
  as bob perl -MIO::Socket::UNIX -e '
    my @all = map { IO::Socket::UNIX->new(Peer => $ARGV[0]) } 1 .. 1500;
    print scalar(@all), "\n";
    close STDOUT;
    sleep 60' /run/sallyport/sallyport.sock >"$world/held" &
  stranger=$!
  read -r i <"$world/held"
  echo "$i connections held"
  for i in {1..10}; do
    as alice timeout 30 sallyport open web --from "198.51.100.$i" --for 60s >/dev/null ||
      fail "alice is kept out by a stranger"
  done
  kill "$stranger"
}

# As sudo leaves it: root's process, whose audit session is alice's.
root_by_way_of_sudo_is_recorded_with_the_person() {
  command -v sqlite3 >/dev/null || exit 77
  start_agent
  # shellcheck disable=SC2016
  bash -c 'echo 61001 >/proc/self/loginuid && exec "$@"' - \
    sallyport open web --from "$client4" --for 60s --reason 'by sudo' || fail "root cannot open"
  sqlite3 "$state/ledger.sqlite" .dump | grep -i 'insert into "*audit' >"$world/answer"
  cat "$world/answer"
  grep -E 'alice|61001' "$world/answer" | grep root >/dev/null || fail "the audit trail does not name alice beside root"
}

# By hand, where zsh and fish are installed: some 40 MB that are not worth it in every run.
zsh_and_fish_complete_what_there_is() {
  local shell line offered shown
  for shell in zsh fish; do command -v "$shell" >/dev/null || exit 77; done
  start_agent
  sallyport open ssh --from 198.51.100.7 >/dev/null
  sallyport --generate-completion-script zsh >"$world/_sallyport"
  sallyport --generate-completion-script fish >"$world/sallyport.fish"
  for shell in zsh fish; do
    while IFS=: read -r line offered; do
      shown=$(python3 "$here/completion.py" "$shell" "$world" "$line")
      grep -qE "$offered" <<<"$shown" || fail "$shell does not offer $offered after $line: $shown"
    done <<'LINES'
sallyport op:sallyport open
sallyport open v:sallyport open vault
sallyport open ssh --fr:sallyport open ssh --from
sallyport log --event gate-:gate-rearmed
sallyport close :1\.1
LINES
  done
}
