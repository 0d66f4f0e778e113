#!/bin/bash
# The unit under a real systemd: installs the programs inside a booted system as `make install` does, and uses them.
# Usage: systemd.sh FOLDER    FOLDER: the built programs
# Exit: 0 as it should be, 77 cannot run here, else failure.
set -euo pipefail
folder=$(realpath "${1:?usage: $0 FOLDER}")
here=$(dirname "$(realpath "$0")")
[[ -n ${SD_EXEC:-} ]] || exec "$here/systemd-boot.sh" run "$0" "$@"

inside() { "$SD_EXEC" "$@"; }
fail() { echo "FAILED: $*"; exit 1; }
report() {
  local status=$?
  [[ $status -eq 0 ]] || inside journalctl --no-pager -n 60 -u sallyportd.service || true
}
trap report EXIT
within() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $limit ]] || fail "not within the time: $*"
    sleep 0.05
  done
}
property() { inside systemctl show --value --property "$1" sallyportd.service; }
as_alice() { inside setpriv --reuid alice --regid alice --init-groups -- sallyport "$@"; }

# With the toolchain's own libraries beside the programs: the inner ProtectHome= hides a toolchain in a home folder.
bin=$SD_ROOT/tmp/bin
mkdir "$bin"
cp "$folder/sallyport" "$folder/sallyportd" "$bin"
ldd "$folder/sallyportd" "$folder/sallyport" | awk '$3 ~ /^\// && $3 !~ /^\/(usr\/)?lib\// { print $3 }' | sort -u |
  xargs -r cp -t "$SD_ROOT/usr/local/lib"
inside ldconfig
mkdir -p "$SD_ROOT/tmp/source"
cp -r "$here"/../../{config,packaging,systemd} "$SD_ROOT/tmp/source"

echo "== install, arm, start"
inside /tmp/source/packaging/install.sh install /tmp/bin
inside useradd --create-home alice
inside usermod -aG sallyport alice
[[ $(property ActiveState) == active ]] || fail "the unit is not active"
inside systemctl status sallyportd.service | head -n 12
pid=$(property MainPID)
inside stat -c '%a %U %G' /run/sallyport/sallyport.sock | grep -x '666 sallyport sallyport' >/dev/null ||
  fail "the socket is $(inside stat -c '%a %U %G' /run/sallyport/sallyport.sock)"
inside stat -c '%a %U' /var/lib/sallyport | grep -x '700 sallyport' >/dev/null || fail "the state directory is open to others"
# CAP_NET_ADMIN is bit 12 (linux/capability.h); nothing else.
inside grep -qx $'CapEff:\t0000000000001000' "/proc/$pid/status" || fail "other capabilities than CAP_NET_ADMIN"
inside grep -qx $'CapBnd:\t0000000000001000' "/proc/$pid/status" || fail "other capabilities can be had"

echo "== a person of the group opens and closes"
as_alice open ssh --from 198.51.100.7 --for 10m
inside nft list table inet sallyport | grep 198.51.100.7 >/dev/null || fail "the kernel does not have the grant"
as_alice close --mine
! inside nft list table inet sallyport | grep 198.51.100.7 >/dev/null || fail "the kernel still has the grant"

echo "== the host is looked at from within the sandbox"
inside sallyport doctor --json >"$SD_ROOT/tmp/doctor.json" || [[ $? -eq 70 ]] || fail "doctor does not answer"
! grep '"incomplete"' "$SD_ROOT/tmp/doctor.json" || fail "the sandbox keeps the agent from looking"
inside sallyport discover >/dev/null || fail "discover does not answer"

echo "== a policy is changed from within the sandbox"
inside stat -c '%a %U' /etc/sallyport/policy.d | grep -x '755 sallyport' >/dev/null || fail "the agent may not write policies"
inside sallyport policy set ssh --max-duration 2h
inside grep -qx '    max_duration: 2h' /etc/sallyport/policy.d/management.yaml || fail "the file is not changed"
inside grep -q '^# Managed ports' /etc/sallyport/policy.d/management.yaml || fail "the comments are gone"
inside sallyport policy set db --ports 5432/tcp
inside stat -c '%a %U' /etc/sallyport/policy.d/db.yaml | grep -x '644 sallyport' >/dev/null || fail "the new file is not readable"
! inside setpriv --reuid alice --regid alice --init-groups -- test -w /etc/sallyport/policy.d/db.yaml ||
  fail "who may ask for access may write policies"
inside sallyport policy remove db
inside test ! -e /etc/sallyport/policy.d/db.yaml || fail "the removed policy has a file"

echo "== reload"
inside systemctl reload sallyportd.service
as_alice open ssh --from 198.51.100.8 --for 10m

policies=$SD_ROOT/etc/sallyport/policy.d/management.yaml
cp "$policies" "$SD_ROOT/tmp/good.yaml"
echo "policies: [{ name: ssh, ports: [22/tcp], nonsense: 1 }]" >"$policies"
! inside systemctl reload sallyportd.service || fail "a reload with an invalid file succeeded"
[[ $(property ActiveState) == active && $(property MainPID) == "$pid" ]] || fail "the refused reload ended the agent"
inside journalctl --no-pager -u sallyportd.service | grep 'sallyport\[.*nonsense' >/dev/null ||
  fail "the journal does not say why the reload was refused"
as_alice open rdp --from 198.51.100.8 --for 10m

echo "== the journal has each event once, with its fields and priority"
journal() { inside journalctl --no-pager --output json -u sallyportd.service "$@"; }
# logged PRIORITY COUNT FIELD=VALUE...: so many entries have the fields, all of that priority.
logged() {
  local priority=$1 count=$2 entries
  shift 2
  entries=$(journal "$@" SYSLOG_IDENTIFIER=sallyportd)
  [[ $(grep -c . <<<"$entries") -eq $count && $(grep -c "\"PRIORITY\":\"$priority\"" <<<"$entries") -eq $count ]] ||
    fail "not $count of priority $priority with $*: $entries"
}
refused=0
as_alice open ssh --from 198.51.100.7 --for 24h --reason "two
lines" || refused=$?
[[ $refused -eq 65 ]] || fail "24 h of 2 were not refused"
told() { journal SALLYPORT_EVENT=refused | grep -q .; }
within 5 told
logged 6 1 SALLYPORT_EVENT=agent-started
logged 6 1 SALLYPORT_EVENT=opened SALLYPORT_SOURCE=198.51.100.7/32 SALLYPORT_POLICY=ssh SALLYPORT_PORT=22/tcp SALLYPORT_NAME=alice
logged 6 1 SALLYPORT_EVENT=ended SALLYPORT_SOURCE=198.51.100.7/32 SALLYPORT_REQUEST=1 SALLYPORT_GRANT=1.1
logged 5 1 SALLYPORT_EVENT=policy-changed SALLYPORT_POLICY=ssh
logged 4 1 SALLYPORT_EVENT=configuration-refused
logged 5 1 SALLYPORT_EVENT=refused SALLYPORT_NAME=alice SALLYPORT_UID="$(inside id -u alice)"
logged 6 1 SALLYPORT_HEAD="$(inside sallyport log --json | sed -nE 's|.*"hash" *: *"([0-9a-f]{64})".*|\1|p' | head -n 1)" SALLYPORT_SEQUENCE=1
journal | python3 -c '
import collections, json, sys
entries = [entry for entry in map(json.loads, sys.stdin) if entry["_TRANSPORT"] != "kernel"]
numbers = [int(entry["SALLYPORT_SEQUENCE"]) for entry in entries if "SALLYPORT_EVENT" in entry]
assert numbers == list(range(1, len(numbers) + 1)), numbers
agent = [entry["MESSAGE"] for entry in entries if entry.get("SYSLOG_IDENTIFIER") == "sallyportd"]
events = {entry["MESSAGE"] for entry in entries if "SALLYPORT_EVENT" in entry}
twice = [text for text, count in collections.Counter(agent).items() if count > 1 and text in events]
assert not twice, twice
# By the protocol with fields, not by standard error as well.
stray = [entry["MESSAGE"] for entry in entries if entry["_TRANSPORT"] == "stdout" and entry["MESSAGE"] in events]
assert not stray, stray
reasons = [entry["SALLYPORT_REASON"] for entry in entries if entry.get("SALLYPORT_EVENT") == "refused"]
assert reasons == ["two\\u{a}lines"], reasons
' || fail "the journal does not have each event once"

echo "== started anew with that file, and with none: armed from the last known good"
for damage in invalid missing; do
  [[ $damage == invalid ]] || inside mv /etc/sallyport/sallyport.yaml /tmp
  inside systemctl stop sallyportd.service
  inside nft delete table inet sallyport
  inside systemctl start sallyportd.service
  [[ $(property ActiveState) == active ]] || fail "the unit is not active: $damage"
  inside nft list table inet sallyport | grep 198.51.100.8 >/dev/null || fail "the gate is not armed: $damage"
done
inside journalctl --no-pager -p warning -u sallyportd.service | grep sallyport.yaml >/dev/null ||
  fail "the journal does not warn"
inside mv /tmp/sallyport.yaml /etc/sallyport
cp "$SD_ROOT/tmp/good.yaml" "$policies"
inside systemctl reload sallyportd.service
pid=$(property MainPID)

echo "== root by way of sudo is recorded with the person"
# A process sets its own login uid only: the shell's built-in has to write.
# shellcheck disable=SC2016
inside sh -c 'echo "$(id -u alice)" >/proc/self/loginuid && exec sallyport open ssh --from 198.51.100.9 --for 10m'
inside sqlite3 /var/lib/sallyport/ledger.sqlite .dump | grep -i 'insert into "*audit' | grep 198.51.100.9 |
  grep -E "alice|,$(inside id -u alice)," >/dev/null || fail "the audit trail does not name alice beside root"

echo "== killed, and back with its grants"
inside kill -KILL "$pid"
restarted() { [[ $(property MainPID) != "$pid" && $(property MainPID) != 0 && $(property ActiveState) == active ]]; }
within 10 restarted
as_alice list | grep 198.51.100.8 >/dev/null || fail "the grant is lost"

echo "== hung, and back"
[[ $(property WatchdogUSec) == 1min ]] || fail "no watchdog"
inside mkdir /etc/systemd/system/sallyportd.service.d
printf '[Service]\nWatchdogSec=2s\n' >"$SD_ROOT/etc/systemd/system/sallyportd.service.d/soon.conf"
inside systemctl daemon-reload
inside systemctl restart sallyportd.service
pid=$(property MainPID)
sleep 3
[[ $(property MainPID) == "$pid" ]] || fail "the agent does not feed the watchdog"
inside kill -STOP "$pid"
within 10 restarted

echo "== installed again, and policies that root took back stay root's"
inside chown root /etc/sallyport/policy.d
inside /tmp/source/packaging/install.sh install /tmp/bin
inside stat -c %U /etc/sallyport/policy.d | grep -x root >/dev/null || fail "an upgrade gave the policies to the agent"

echo "== stopped, and the gate still there"
inside systemctl stop sallyportd.service
inside nft list table inet sallyport | grep 198.51.100.8 >/dev/null || fail "the gate is gone"

echo "== nothing was refused by the sandbox"
if inside journalctl --no-pager -u sallyportd.service | grep -i 'not permitted'; then fail "see the journal"; fi

echo "== uninstalled"
inside /tmp/source/packaging/install.sh uninstall
! inside nft list table inet sallyport 2>/dev/null || fail "uninstall left the gate"
[[ ! -e $SD_ROOT/usr/local/sbin/sallyportd ]] || fail "uninstall left the agent"
inside test -e /etc/sallyport/sallyport.yaml || fail "uninstall took the configuration"

echo "== installed over SSH, armed on trial, and disarmed where nobody confirms"
inside rm -rf /etc/sallyport /var/lib/sallyport
armed() { inside nft list table inet sallyport >/dev/null 2>&1; }
disarmed() { ! armed; }
from_ssh() { inside env "SSH_CONNECTION=198.51.100.7 50022 192.0.2.1 22" CONFIRM_WITHIN="$1" /tmp/source/packaging/install.sh install /tmp/bin; }
from_ssh 10s >"$SD_ROOT/tmp/answer"
grep 'policy confirm' "$SD_ROOT/tmp/answer" >/dev/null || fail "nothing says how to confirm: $(<"$SD_ROOT/tmp/answer")"
armed || fail "the gate is not armed"
within 20 disarmed
inside systemctl show --value --property StatusText sallyportd.service | grep DISARMED >/dev/null || fail "systemd does not know"
inside systemctl restart sallyportd.service
disarmed || fail "a restart armed it"
inside sallyport arm --confirm-within 60s
inside sallyport policy confirm
armed || fail "the gate is not armed"
inside /tmp/source/packaging/install.sh uninstall
disarmed || fail "uninstall left the gate"
echo "ok: the unit under systemd"
