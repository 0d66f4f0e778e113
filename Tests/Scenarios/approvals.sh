# shellcheck shell=bash disable=SC2154
# Requests that others have to agree to, each by a real user over the socket.

# answered WANTED PERSON SOCKET METHOD PATH BODY [CURL-ARGUMENT...]: the answer must have that status; it is left in
# $world/answer, with the status behind it.
answered() {
  as "$2" curl -s -w '\n%{http_code}' --unix-socket "/run/sallyport/$3.sock" -X "$4" \
    ${6:+-H content-type:application/json -d "$6"} "${@:7}" "http://sallyport$5" >"$world/answer"
  [[ $(tail -n 1 "$world/answer") -eq $1 ]] || fail "$2: $4 $5 was not answered $1: $(<"$world/answer")"
}
# api WANTED PERSON METHOD PATH [BODY]
api() { answered "$1" "$2" sallyport "$3" "$4" "${5:-}"; }
answer_has() { grep -qE "$1" "$world/answer" || fail "the answer lacks $1: $(<"$world/answer")"; }
guard_web() { # APPROVALS
  sed -i "s/name: web,/name: web, approvals: $1,/" "$world/policy.d/all.yaml"
}
ask_for_web() { # WANTED
  api "$1" alice POST /v1/requests "{\"targets\":[\"web\"],\"sources\":[\"$client4\"],\"duration\":\"60s\"}"
}

nothing_opens_before_two_others_agree() {
  local asked opened
  serve_tcp 8080
  guard_web 2
  start_agent
  asked=$EPOCHREALTIME
  ask_for_web 202
  answer_has '"state":"pending"'
  kept_out "$host4" 8080
  # Neither the requester, nor as root in a session of hers, nor who has no say.
  api 403 alice POST /v1/requests/1/approve
  # shellcheck disable=SC2016
  bash -c 'echo 61001 >/proc/self/loginuid && exec curl -s --unix-socket /run/sallyport/sallyport.sock \
    -X POST http://sallyport/v1/requests/1/approve' >"$world/answer" || fail "root cannot ask"
  answer_has 'same person'
  api 403 vera POST /v1/requests/1/approve
  # One approver counts once.
  api 200 carol POST /v1/requests/1/approve '{"revision":1}'
  api 409 carol POST /v1/requests/1/approve
  api 409 erin POST /v1/requests/1/approve '{"revision":1}'
  kept_out "$host4" 8080
  # What was agreed outlives the agent.
  end_agent KILL
  start_agent
  kept_out "$host4" 8080
  pause_until "$(perl -e 'print $ARGV[0] + 2' "$asked")"
  api 200 erin POST /v1/requests/1/approve '{"revision":2}'
  answer_has '"state":"active"'
  let_in "$host4" 8080
  # Its time begins when it opens.
  opened=$(grep -oE '"remainingSeconds":[0-9]+' "$world/answer")
  [[ ${opened#*:} -ge 59 ]] || fail "it was open for $opened only"
  api 409 ada POST /v1/requests/1/deny '{"reason":"too late"}'
}

of_answers_at_once_one_counts() {
  local round person verb statuses all body
  guard_web 1
  start_agent
  for round in {1..10}; do
    ask_for_web 202
    statuses=()
    for person in carol erin ada alice; do
      body='{}'
      case $person in
        carol | erin) verb=approve ;;
        ada) verb=deny body='{"reason":"no"}' ;;
        alice) verb=cancel ;;
      esac
      as "$person" curl -s -o /dev/null -w '%{http_code}\n' --unix-socket /run/sallyport/sallyport.sock \
        -X POST -H content-type:application/json -d "$body" "http://sallyport/v1/requests/$round/$verb" >"$world/status.$person" &
      statuses+=("$!")
    done
    wait "${statuses[@]}"
    all=$(sort "$world"/status.* | tr '\n' ' ')
    [[ $all == "200 409 409 409 " ]] || fail "request $round was answered $all"
  done
}

# remote WANTED SUBJECT METHOD PATH [BODY]: the same, of a person for whom erin's process speaks.
remote() {
  answered "$1" erin delegate "$3" "$4" "${5:-}" -H "Sallyport-Person: iss=\"corp\", sub=\"$2\", name=\"$2@example.com\", \
groups=(\"ops\"), addr=\"$client4\", auth=@$EPOCHSECONDS, ses=\"s\""
}

nobody_approves_their_own_under_a_second_name() {
  serve_tcp 8080
  guard_web 2
  sed -i '/^roles:/,$d' "$world/sallyport.yaml"
  cat >>"$world/sallyport.yaml" <<'YAML'
roles:
  requester: ["group:sallyport", "corp-group:ops"]
  approver: ["group:sallyport", bob, carol, "corp-group:ops"]
delegates:
  - { name: portal, user: erin, issuers: [corp], ceiling: [requester, approver] }
people:
  - { name: alice, local: alice, remote: "oidc:corp:alice-2" }
  - { name: carol, local: carol, remote: "oidc:corp:carol-2" }
YAML
  start_agent
  ask_for_web 202
  api 403 alice POST /v1/requests/1/approve
  answer_has 'same person|own'
  remote 403 alice-2 POST /v1/requests/1/approve
  answer_has 'same person|own'
  # Two names of one person are one approval, whichever comes first.
  api 200 carol POST /v1/requests/1/approve
  remote 409 carol-2 POST /v1/requests/1/approve
  kept_out "$host4" 8080
  api 200 bob POST /v1/requests/1/approve
  let_in "$host4" 8080
  # The other way round.
  remote 202 alice-2 POST /v1/requests "{\"targets\":[\"web\"],\"sources\":[\"$stranger4\"],\"duration\":\"60s\"}"
  api 403 alice POST /v1/requests/2/approve
  remote 403 alice-2 POST /v1/requests/2/approve
  remote 200 carol-2 POST /v1/requests/2/approve
  api 409 carol POST /v1/requests/2/approve
  answer_has "one person counts once"
  remote 200 dave POST /v1/requests/2/approve
  answer_has '"state":"active"'
}

# Persons at their terminals: who waits hears of the answer, also when the agent was away meanwhile.
who_waits_hears_of_the_answer_through_a_restart() {
  local waiting
  serve_tcp 8080
  guard_web 1
  start_agent
  wait_for_web "$client4"
  end_agent KILL
  within 10 grep -q 'the agent is away' "$world/told" || fail "that the agent is away is not told"
  start_agent
  within 10 grep -q 'the agent is back' "$world/told" || fail "that the agent is back is not told"
  kept_out "$host4" 8080
  refused 64 as carol sallyport approve 1
  as carol sallyport approve 1 --yes >"$world/answer" 2>&1 || fail "it cannot be approved: $(<"$world/answer")"
  answer_has "$client4/32"
  wait "$waiting" || fail "who waited was not let in: $(<"$world/told")"
  grep -q 'request 1 is open until' "$world/told" || fail "who waited was told: $(<"$world/told")"
  let_in "$host4" 8080

  wait_for_web "$stranger4"
  as carol sallyport deny 2 --reason "use the replica" >"$world/answer" || fail "it cannot be denied"
  refused 77 wait "$waiting"
  grep -q 'denied by carol: use the replica' "$world/told" || fail "who waited was told: $(<"$world/told")"
}
wait_for_web() { # SOURCE
  : >"$world/told"
  as alice sallyport open web --from "$1" --for 60s --wait >"$world/told" 2>&1 &
  waiting=$!
  within 10 grep -q 'waits for approval' "$world/told" || fail "it is not said that it waits: $(<"$world/told")"
}
