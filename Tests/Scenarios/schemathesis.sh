#!/bin/bash
# Asks a running agent all that docs/openapi.yaml allows, and what it does not, and compares the answers with it.
# Usage: schemathesis.sh FOLDER PERSON [ARGUMENT...]
#   FOLDER: the built programs; PERSON: who asks, root or alice, a requester; ARGUMENT: of `schemathesis run`
# Needs schemathesis 4 for Python in PATH (pip install schemathesis).
set -euo pipefail
folder=$(realpath "${1:?usage: $0 FOLDER PERSON [ARGUMENT...]}")
person=${2:?usage: $0 FOLDER PERSON [ARGUMENT...]}
here=$(dirname "$(realpath "$0")")
openapi=$(realpath "$here/../../docs/openapi.yaml")
# shellcheck source=Tests/Scenarios/world.sh
source "$here/world.sh"
world_enter "$@"
shift 2
world_programs "$folder"
mkdir -p "$world/policy.d" "$world/state"
cat >"$world/sallyport.yaml" <<YAML
policy_dir: $world/policy.d
agent: { state_dir: $world/state }
roles: { requester: ["group:sallyport"], approver: ["group:sallyport-approver"], admin: ["group:sallyport-admin"] }
YAML
cat >"$world/policy.d/all.yaml" <<'YAML'
policies:
  - { name: web, ports: [8080/tcp], max_active_per_requester: 1000 }
  - { name: vault, ports: [9000/tcp], approvals: 1 }
YAML
ip netns exec host sallyportd --config "$world/sallyport.yaml" >"$world/agent.log" 2>&1 &
within 10 sallyport list
# Requests of each kind, whose ids the hooks put in place of made-up ones.
for i in {1..12}; do
  as alice sallyport open web --from "198.51.100.$i" --for 1h >/dev/null
  as alice sallyport open vault --from "198.51.100.$i" --for 1h >/dev/null || true
done
# Speaks TCP for the one that asks; the agent knows who that is by who this is.
# shellcheck disable=SC2016
as "$person" perl -MIO::Socket -e '
  $SIG{CHLD} = "IGNORE";
  my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8000", Listen => 64, ReuseAddr => 1) or die "listen: $!\n";
  while (my $near = $listener->accept) {
    next if fork;
    my $far = IO::Socket::UNIX->new(Peer => "/run/sallyport/sallyport.sock") or exit 1;
    my ($from, $to) = fork ? ($near, $far) : ($far, $near);
    while (sysread $from, my $said, 1 << 16) { syswrite $to, $said }
    shutdown $to, 1;
    exit;
  }' &
ip link set lo up
within 5 bash -c ': </dev/tcp/127.0.0.1/8000'
# Events never end. Policy refuses much that is well-formed, no answer goes by an Authorization header, and at
# /v1/policies/reload other methods are for a policy of that name.
# A precondition may fail before the body is looked at.
cat >"$world/schemathesis.toml" <<'TOML'
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422]
TOML
status=0
# It leaves a folder where it runs.
cd "$world"
SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 \
  schemathesis --config-file "$world/schemathesis.toml" run "$openapi" --url http://127.0.0.1:8000 --exclude-path /v1/events --exclude-path /v1/gate/disarm \
  --exclude-checks positive_data_acceptance,ignored_auth,allow_header_conformance --continue-on-failure --suppress-health-check all \
  "$@" || status=$?
grep -E ' (error|critical) ' "$world/agent.log" || true
sallyport list >/dev/null || { echo "the agent does not answer any more"; exit 1; }
exit "$status"
