#!/bin/bash
# Installs the Debian packages that building and testing need: only those that are missing, and says so.
# Usage: packaging/debian-packages.sh build | test      (test includes build)
set -euo pipefail

build=(ca-certificates gcc git libc6-dev libmnl-dev libnftnl-dev libsqlite3-dev perl pkg-config)
test=(curl iproute2 nftables openssh-client openssh-server procps python3 shellcheck sqlite3 systemd util-linux)

case ${1:-} in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${build[@]}" "${test[@]}") ;;
  *) echo "usage: $0 build | test" >&2; exit 64 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 ]]; then
  echo "these Debian packages are missing: ${missing[*]}" >&2
  echo "install them with: sudo $0 $1" >&2
  exit 1
fi
echo "installing Debian packages: ${missing[*]}"

# The tests run an sshd of their own; installing openssh-server must not open one on this machine.
denial=/usr/sbin/policy-rc.d
if [[ " ${missing[*]} " == *" openssh-server "* && ! -e $denial ]]; then
  trap 'rm -f "$denial"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$denial"
  chmod 755 "$denial"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
if [[ " ${missing[*]} " == *" openssh-server "* ]] && command -v systemctl >/dev/null; then
  systemctl disable --quiet ssh.service 2>/dev/null || true
fi
