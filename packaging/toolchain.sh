#!/bin/bash
# Runs a program of the Swift toolchain: `packaging/toolchain.sh swift build`.
#
# Under sudo two things differ from what one expects: root's PATH lacks the toolchain of the person who called
# sudo, and whatever root builds stays root's, so that this person's next build is refused. So the toolchain is
# looked for where that person would find it, and swift runs as that person where they may write here; root
# never runs swift in somebody else's checkout, and what needs root runs the finished programs.
set -euo pipefail
cd "$(dirname "$0")/.."

builder=()
if [[ $EUID -eq 0 && -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
  as_user=(runuser -u "$SUDO_USER" --)
  # A .build that root left behind earlier cannot be written by that person: then root goes on.
  if "${as_user[@]}" test -w . && { [[ ! -e .build ]] || "${as_user[@]}" test -w .build; }; then
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    builder=("${as_user[@]}" env "HOME=$home" "USER=$SUDO_USER" "LOGNAME=$SUDO_USER")
  fi
fi

find_swift() {
  local candidate
  command -v swift && return
  if [[ -n ${SUDO_USER:-} ]]; then
    # A login shell has read the profile in which installers such as swiftly extend PATH.
    candidate=$(runuser -l "$SUDO_USER" -c 'command -v swift' 2>/dev/null | tail -n 1) || true
    [[ -x $candidate ]] && { echo "$candidate"; return; }
  fi
  for candidate in /opt/swift*/usr/bin/swift /usr/local/swift*/usr/bin/swift /usr/share/swift/usr/bin/swift \
    /usr/libexec/swift/*/bin/swift; do
    [[ -x $candidate ]] && { echo "$candidate"; return; }
  done
  cat >&2 <<'MESSAGE'
cannot find swift: Sallyport is built with Swift 6.3 or later (https://www.swift.org/install/linux/).
Where it is installed but not found, name its folder: make build PATH="$PATH:/where/swift/is/usr/bin"
MESSAGE
  return 1
}

swift=$(find_swift)
# As a whole PATH: swift looks for its compiler, linker and git there.
PATH=$(dirname "$swift"):$PATH
export PATH
exec "${builder[@]}" "$@"
