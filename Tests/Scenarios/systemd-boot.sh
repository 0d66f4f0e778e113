#!/bin/bash
# Boots this machine's own root filesystem under a real systemd, as pid 1 of new namespaces, runs a command against
# it and tears it down. Writes go to memory; nothing outside changes.
#
#   systemd-boot.sh run COMMAND...      the command runs outside, with these in its environment:
#                                         SD_ROOT  the inner root, to copy files into
#                                         SD_EXEC  a program: "$SD_EXEC systemctl status x" runs inside
# Exit: the command's status, 77 cannot run here, else failure.
set -euo pipefail
self=$(readlink -f "$0")
sbin=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
tag=sallyport-boot
limit=30                     # seconds for the boot, and for the orderly stop

skip() { echo "cannot boot systemd here: $*" >&2; exit 77; }

# --- pid 1 of the new namespaces, still on the outer root: builds the inner one, pivots, becomes systemd.
inner() {
  local folder=$1 root=$1/root node major minor unit drop
  mount --make-rprivate /
  mount -t tmpfs -o mode=0755,size=1g $tag "$folder"
  mkdir "$folder/upper" "$folder/work" "$root"
  mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" $tag "$root"
  mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
  # None of the outer machine's enabled units come up.
  mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/etc/systemd/system"
  mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
  # Most of /proc/sys belongs to the kernel, not to the namespace; net is the namespace's own.
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
  mount -o remount,bind,ro,nosuid,nodev,noexec "$root/proc/sys"
  [[ ! -e $root/proc/sysrq-trigger ]] || mount --bind /dev/null "$root/proc/sysrq-trigger"
  mount -t tmpfs -o mode=0755,nosuid,size=4m tmpfs "$root/dev"
  for node in null zero full random urandom tty; do
    read -r major minor < <(stat -c '%Hr %Lr' "/dev/$node")
    mknod -m 666 "$root/dev/$node" c "$major" "$minor"
  done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5,nosuid,noexec devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  # A pure version 2 tree. Given a tmpfs with version 1 hierarchies systemd would mount every controller itself
  # and leave its slices behind in the outer ones.
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
  rm -f "$root/etc/machine-id"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  for unit in systemd-journald-audit.socket systemd-modules-load.service modprobe@.service dev-hugepages.mount \
    systemd-logind.service systemd-update-utmp.service systemd-update-utmp-runlevel.service getty.target \
    console-getty.service systemd-tmpfiles-clean.timer sys-fs-fuse-connections.mount; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
  done
  ln -s /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
  touch "$root/etc/.updated" "$root/var/.updated"
  mkdir -p "$root/oldroot" "$root/var/log/journal"
  cd "$root"
  pivot_root . oldroot
  cd /
  umount -l /oldroot
  rmdir /oldroot
  mount --make-rshared /
  # Without these the inner root cannot set the clock, load modules or touch ports.
  drop=-sys_module,-sys_rawio,-sys_time,-syslog,-mac_admin,-mac_override,-wake_alarm,-block_suspend
  exec </dev/null >/dev/null 2>&1
  exec env -i container=$tag PATH=$sbin LANG=C.UTF-8 setpriv --bounding-set "$drop" --inh-caps "$drop" \
    /lib/systemd/systemd
}

# --- outside
folder='' launched='' init='' cgroup=''

# The first descendant that is pid 1 of its innermost namespace.
find_init() {
  local child children
  children=$(cat "/proc/$1/task/$1/children" 2>/dev/null) || return 1
  for child in $children; do
    if awk '/^NSpid:/ { exit !(NF > 2 && $NF == 1) }' "/proc/$child/status" 2>/dev/null; then
      echo "$child"
      return
    fi
    find_init "$child" && return
  done
  return 1
}

boot() {
  local tree
  [[ $EUID -eq 0 ]] || skip "not root"
  [[ -x /lib/systemd/systemd ]] || skip "systemd is not installed"
  tree=$(findmnt -rn -t cgroup2 -o TARGET | head -n 1)
  [[ -n $tree ]] || skip "no cgroup version 2"
  unshare --pid --fork --mount --net --uts --ipc --cgroup true 2>/dev/null || skip "unshare is refused"
  folder=$(mktemp -d "/tmp/$tag.XXXXXX")
  cgroup=$tree/${folder##*/}
  trap tear_down EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir "$cgroup" 2>/dev/null || skip "no cgroup can be made"
  # Should this script be killed, unshare dies with it, and so does all that is inside.
  (
    echo "$BASHPID" >"$cgroup/cgroup.procs"
    exec setpriv --pdeathsig KILL unshare --kill-child=KILL --fork --pid --mount --net --uts --ipc --cgroup \
      /bin/bash "$self" inner "$folder"
  ) </dev/null >"$folder.log" 2>&1 &
  launched=$!
  local i state
  for ((i = 0; i < limit * 50; i++)); do
    kill -0 "$launched" 2>/dev/null || { cat "$folder.log" >&2; skip "the inner system ended"; }
    [[ -n $init ]] || init=$(find_init "$launched") || init=''
    [[ -n $init && -S /proc/$init/root/run/systemd/private && $(<"/proc/$init/comm") == systemd ]] && break
    sleep 0.02
  done
  [[ -n $init ]] || { cat "$folder.log" >&2; skip "no pid 1"; }
  export SD_ROOT=/proc/$init/root SD_EXEC=$folder.exec
  printf '#!/bin/sh\nexec nsenter -t %s -a -- env -i PATH=%s LANG=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@"\n' \
    "$init" "$sbin" >"$SD_EXEC"
  chmod 755 "$SD_EXEC"
  state=$(timeout "$limit" "$SD_EXEC" systemctl is-system-running --wait) || true
  [[ $state == running || $state == degraded ]] || { "$SD_EXEC" systemctl list-jobs || true; skip "boot ended $state"; }
}

tear_down() {
  local status=$? i
  trap - EXIT
  trap '' INT TERM HUP
  # cgroup.kill ends exactly what is in our own cgroup.
  if [[ -e $cgroup/cgroup.kill ]]; then
    echo 1 >"$cgroup/cgroup.kill" || true
  elif [[ -n $launched ]]; then
    kill -KILL "$launched" 2>/dev/null || true
  fi
  [[ -z $launched ]] || wait "$launched" 2>/dev/null || true
  for ((i = 0; i < 50; i++)); do
    [[ ! -d $cgroup ]] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [[ -d $cgroup ]] || break
    sleep 0.05
  done
  rm -f "$folder.log" "$folder.exec"
  rmdir "$folder"
  exit "$status"
}

case ${1:-} in
  inner) inner "$2" ;;
  run)
    shift
    boot
    "$@"
    ;;
  *) sed -n '2,8p' "$self"; exit 64 ;;
esac
