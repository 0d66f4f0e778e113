# shellcheck shell=bash
# Sourced by the demo and the scenarios: a throw-away world for the real programs.
#
# The script runs again inside mount, pid and network namespaces of its own. In there stand two more network
# namespaces, `host` and `client`, joined by a cable, and six people: alice is in group sallyport, ada in
# sallyport-admin, vera in auditors, carol and erin in sallyport-approver, and bob in none of these. Nothing outside is written, and when the script ends,
# however it ends, the kernel removes it all.

host4=192.0.2.1 client4=192.0.2.7 stranger4=192.0.2.8
host6=2001:db8::1 client6=2001:db8::7
world=/run/world

# Runs the calling script again inside; call it first, with "$@".
world_enter() {
  if [[ -z ${SALLYPORT_WORLD:-} ]]; then
    [[ $EUID -eq 0 ]] || { echo "$0: needs root, to make network namespaces" >&2; exit 1; }
    unshare --mount --net --pid --fork true 2>/dev/null ||
      { echo "$0: cannot make namespaces here; a container needs to be privileged" >&2; exit 77; }
    SALLYPORT_WORLD=1 exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" "$@"
  fi
  # As pid 1 a script is deaf to signals it does not name.
  trap 'exit 130' INT TERM
  # Our own /run: named namespaces, sockets and pid files are ours alone.
  mount -t tmpfs -o mode=0755 tmpfs /run
  mkdir -p "$world" /run/sallyport /run/sshd
  world_network
  world_people
}

world_network() {
  ip netns add host
  ip netns add client
  ip link add name uplink netns host type veth peer name uplink netns client
  local side
  for side in host client; do
    # Without duplicate address detection IPv6 works at once.
    ip netns exec "$side" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 \
      net.ipv6.conf.uplink.accept_dad=0 net.ipv6.conf.uplink.dad_transmits=0
    ip -n "$side" link set lo up
    ip -n "$side" link set uplink up
  done
  ip -n host address add "$host4/24" dev uplink
  ip -n host address add "$host6/64" dev uplink nodad
  ip -n client address add "$client4/24" dev uplink
  ip -n client address add "$stranger4/24" dev uplink
  ip -n client address add "$client6/64" dev uplink nodad
}

world_people() {
  local file person uid=61001 groups
  for file in passwd shadow group; do
    grep -Ev '^(alice|bob|ada|vera|carol|erin|sallyport|sallyport-[a-z]+|auditors|people):' "/etc/$file" >"$world/$file" || true
  done
  install -d -m 0755 /run/home
  for person in alice bob ada vera carol erin; do
    echo "$person:x:$uid:61000::/run/home/$person:/bin/bash" >>"$world/passwd"
    echo "$person:*:::::::" >>"$world/shadow"
    install -d -o $uid -g 61000 "/run/home/$person"
    uid=$((uid + 1))
  done
  groups=(people:x:61000: sallyport:x:61011:alice sallyport-admin:x:61012:ada auditors:x:61013:vera
    "sallyport-approver:x:61014:carol,erin")
  printf '%s\n' "${groups[@]}" >>"$world/group"
  for file in passwd shadow group; do mount --bind "$world/$file" "/etc/$file"; done
}

# Not for a program in the background that is to be signalled: $! would be a shell around it.
on_host() { ip netns exec host "$@"; }
on_client() { ip netns exec client "$@"; }
# as PERSON COMMAND...: with the groups that person has.
as() {
  local person=$1
  shift
  setpriv --reuid "$person" --regid people --init-groups -- env -i "PATH=$PATH" "HOME=/run/home/$person" "$@"
}

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $limit ]] || { echo "not within the time: $*" >&2; return 1; }
    sleep 0.05
  done
}

# A real sshd in `host`, to which alice logs in from `client` with a key of her own.
start_sshd() {
  local keys=/run/home/alice/.ssh
  install -d -m 0700 -o alice -g people "$keys"
  ssh-keygen -q -t ed25519 -N '' -C host -f "$world/host_key"
  ssh-keygen -q -t ed25519 -N '' -C alice -f "$keys/id_ed25519"
  cp "$keys/id_ed25519.pub" "$keys/authorized_keys"
  printf '%s,%s %s\n' "$host4" "$host6" "$(cut -d' ' -f1,2 "$world/host_key.pub")" >"$keys/known_hosts"
  printf 'BatchMode yes\nLogLevel ERROR\n' >"$keys/config"
  chown alice:people "$keys"/*
  printf '%s\n' "HostKey $world/host_key" 'PidFile none' 'UsePAM no' 'PasswordAuthentication no' \
    'AuthorizedKeysFile .ssh/authorized_keys' >"$world/sshd_config"
  # sshd wants to be called by its whole path.
  on_host "$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)" -D -E "$world/sshd.log" -f "$world/sshd_config" &
  within 5 on_host bash -c ': </dev/tcp/127.0.0.1/22'
}

# world_programs FOLDER: puts the built programs where everybody may run them; a home folder, and a toolchain
# with its libraries in one, may be closed to alice. The programs look for libraries beside themselves first.
world_programs() {
  install -m 0755 "$1/sallyport" "$1/sallyportd" "$world"
  ldd "$1/sallyport" "$1/sallyportd" | awk '$3 ~ /^\// && $3 !~ /^\/(usr\/)?lib\// { print $3 }' | sort -u |
    xargs -r install -m 0755 -t "$world"
  PATH=$world:$PATH
}
