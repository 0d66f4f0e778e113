#!/bin/bash
# Installs Sallyport from a folder of built programs, or removes it. Called by `make install` and `make uninstall`,
# which set PREFIX, SYSCONFDIR, DESTDIR, UNITDIR and SYSUSERSDIR. With DESTDIR only files are written. Where the gate is
# armed from within an SSH session, it is taken away again after CONFIRM_WITHIN unless that is confirmed.
set -euo pipefail
cd "$(dirname "$0")"
: "${PREFIX:=/usr/local}" "${SYSCONFDIR:=/etc}" "${DESTDIR:=}"
: "${CONFIRM_WITHIN:=5m}" "${UNITDIR:=$PREFIX/lib/systemd/system}" "${SYSUSERSDIR:=$PREFIX/lib/sysusers.d}"
config=$SYSCONFDIR/sallyport state=/var/lib/sallyport

live() { [[ -z $DESTDIR ]]; }
has_systemd() { [[ -d /run/systemd/system ]]; }

# The address from which the SSH session we run in came; sudo hides it from our own environment.
ssh_origin() {
  local pid=$$ connection
  while [[ $pid -gt 1 ]]; do
    connection=$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p') || true
    [[ -n $connection ]] && { echo "${connection%% *}"; return; }
    pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
  done
}

is_armed() {
  systemctl is-active --quiet sallyportd.service ||
    { command -v nft >/dev/null && nft list table inet sallyport >/dev/null 2>&1; }
}

install_new() { # FILE TARGET: never over what an administrator may have changed
  if [[ -e $DESTDIR$2 ]]; then
    echo "kept $2"
  else
    install -D -m 0644 "$1" "$DESTDIR$2"
    sed -i "s|/etc/sallyport|$config|" "$DESTDIR$2"
  fi
}

# Where bash, zsh and fish look by themselves, and the name each of them looks for.
completions() { # COMMAND: called with a shell and its file
  "$1" bash "$PREFIX/share/bash-completion/completions/sallyport"
  "$1" zsh "$PREFIX/share/zsh/site-functions/_sallyport"
  "$1" fish "$PREFIX/share/fish/vendor_completions.d/sallyport.fish"
}

install_completion() { # SHELL FILE
  install -D -m 0644 /dev/null "$DESTDIR$2"
  "$DESTDIR$PREFIX/bin/sallyport" --generate-completion-script "$1" >"$DESTDIR$2"
}

remove_completion() { # SHELL FILE
  rm -f "$DESTDIR$2"
}

manual() { # PROGRAM SECTION OTHERS FOLDER
  install -D -m 0644 /dev/null "$DESTDIR$PREFIX/share/man/man$2/$1.$2"
  "$DESTDIR$PREFIX/$4/$1" --experimental-dump-help | ./manual.pl "$2" "$3" \
    >"$DESTDIR$PREFIX/share/man/man$2/$1.$2"
}

do_install() {
  local bin=${1:?where are the built programs?} policies=$DESTDIR$config/policy.d is_first=
  install -D -m 0755 "$bin/sallyportd" "$DESTDIR$PREFIX/sbin/sallyportd"
  install -D -m 0755 "$bin/sallyport" "$DESTDIR$PREFIX/bin/sallyport"
  completions install_completion
  manual sallyport 1 'sallyportd(8)' bin
  manual sallyportd 8 'sallyport(1)' sbin
  install -D -m 0644 ../systemd/sallyport.sysusers "$DESTDIR$SYSUSERSDIR/sallyport.conf"
  install -D -m 0644 ../systemd/sallyportd.service "$DESTDIR$UNITDIR/sallyportd.service"
  sed -i -E -e "s#/usr/local/(s?bin)/#$PREFIX/\1/#" -e "s#/etc/sallyport#$config#" \
    "$DESTDIR$UNITDIR/sallyportd.service"
  # Our policies only where there are none: one that was removed must not come back with an upgrade.
  if [[ ! -d $policies ]]; then
    is_first=1
    install_new ../config/policy.d/management.yaml "$config/policy.d/management.yaml"
  fi
  install_new ../config/sallyport.yaml "$config/sallyport.yaml"
  live || return 0

  # First, or the configuration would name groups that are not there yet.
  if has_systemd; then
    systemd-sysusers "$SYSUSERSDIR/sallyport.conf"
    # The agent writes what `sallyport policy set` and `remove` change, unless its administrator took the folder back.
    [[ ! $is_first ]] || chown sallyport "$policies"
  fi
  "$PREFIX/sbin/sallyportd" --config "$config/sallyport.yaml" --check
  if ! has_systemd; then
    echo "Installed. systemd does not run here: start $PREFIX/sbin/sallyportd by hand or by your own service manager."
    return
  fi
  systemctl daemon-reload
  systemctl enable --quiet sallyportd.service
  local origin trial=
  origin=$(ssh_origin)
  if [[ -n $origin ]] && ! is_armed; then
    trial=1
    # The agent starts without arming: what is armed then comes undone by itself, whatever becomes of us.
    install -d -m 0700 -o sallyport -g sallyport "$state"
    install -m 0600 -o sallyport -g sallyport /dev/null "$state/disarmed.json"
  fi
  systemctl restart sallyportd.service
  # No grant lets us back in yet: that is what the trial is for.
  [[ -z $trial ]] || "$PREFIX/bin/sallyport" arm --force --confirm-within "$CONFIRM_WITHIN"
  how_to_get_back_in
}

how_to_get_back_in() {
  local open="sudo $PREFIX/bin/sallyport open ssh --from ${origin:-YOUR.ADDRESS} --for 1h --reason \"after installation\""
  echo
  if [[ -n $trial ]]; then
    cat <<MESSAGE
The gate is armed on trial, since you are here over SSH: new connections to the managed ports are dropped, SSH included,
and sessions that exist stay. Unless you confirm within $CONFIRM_WITHIN it is taken away again by itself. So:

 1. Here, open the way back in:  $open
 2. In another terminal, log in anew: that shows that it works.
 3. There:                       sudo $PREFIX/bin/sallyport policy confirm

Too late? Nothing is lost: sudo $PREFIX/bin/sallyport arm --force --confirm-within $CONFIRM_WITHIN
MESSAGE
  elif [[ -e $state/disarmed.json ]]; then
    echo "THE GATE IS DISARMED, as it was before; to arm it: sudo $PREFIX/bin/sallyport arm"
  else
    cat <<MESSAGE
The gate is armed: new connections to the managed ports are dropped from now on, SSH included.
Sessions that exist stay. Before you close this one, open the way back in:

    $open
MESSAGE
  fi
  cat <<MESSAGE

Name who may ask from now on (from their next login):  sudo usermod -aG sallyport NAME
An address that shall always get in: break_glass in $config/sallyport.yaml
To take the gate away: sudo $PREFIX/bin/sallyport disarm. From the console, where the agent does not run:
sudo systemctl disable --now sallyportd && sudo nft delete table inet sallyport
MESSAGE
}

do_uninstall() {
  if live && has_systemd; then
    # Recorded in the audit trail, which stays.
    if systemctl is-active --quiet sallyportd.service; then
      "$PREFIX/bin/sallyport" disarm >/dev/null || true
    fi
    systemctl disable --quiet --now sallyportd.service 2>/dev/null || true
  fi
  rm -f "$DESTDIR$PREFIX/sbin/sallyportd" "$DESTDIR$PREFIX/bin/sallyport" \
    "$DESTDIR$UNITDIR/sallyportd.service" "$DESTDIR$SYSUSERSDIR/sallyport.conf"
  completions remove_completion
  rm -f "$DESTDIR$PREFIX/share/man/man1/sallyport.1" "$DESTDIR$PREFIX/share/man/man8/sallyportd.8"
  live || return 0
  if has_systemd; then systemctl daemon-reload; fi
  # Installed again, it is armed again.
  rm -f "$state/disarmed.json"
  # Stopping an agent that could not disarm leaves the gate in place; with the programs gone nobody could open it any more.
  if ! command -v nft >/dev/null; then
    echo "nft is not installed: the table inet sallyport stays in the kernel until the next boot" >&2
  elif nft list table inet sallyport >/dev/null 2>&1; then
    nft delete table inet sallyport
  fi
  cat <<MESSAGE
Sallyport is removed and its ports are as open as they were without it.
Left in place: $config (configuration), /var/lib/sallyport (ledger), the user and groups
sallyport, sallyport-admin and sallyport-approver. Remove them with:
    rm -r $config /var/lib/sallyport; userdel sallyport; groupdel sallyport-admin; groupdel sallyport-approver
MESSAGE
}

case ${1:-} in
  install) do_install "$(cd .. && realpath "$2")" ;;
  uninstall) do_uninstall ;;
  *) echo "usage: $0 install FOLDER | uninstall" >&2; exit 64 ;;
esac
