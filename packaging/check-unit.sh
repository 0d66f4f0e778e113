#!/bin/bash
# Checks a systemd unit: every directive known, and exposure at most 2.0 of 10.
set -euo pipefail
unit=${1:?usage: $0 UNIT}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# verify wants the programs to exist; those that are to be installed need not yet.
sed -E 's|^(Exec[A-Za-z]*=\+?)/[^ ]*|\1/bin/true|' "$unit" >"$folder/$(basename "$unit")"
# Without recursive-errors=no a misspelt directive is told but exits 0.
systemd-analyze verify --man=no --recursive-errors=no "$folder/$(basename "$unit")"
systemd-analyze security --offline=true --threshold=20 "$unit" >"$folder/report" ||
  { cat "$folder/report"; exit 1; }
