# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Booting real Debian guests from their backups; for tests that have sourced
# lib.sh.  Under emulation a boot takes half a minute when the machine has
# nothing else to do, and several when it has.

: "${top_srcdir:?source lib.sh first}" "${top_builddir:?}"
boot_timeout=${LM_BOOT_TIMEOUT:-600}

# back_up KIND CONFIG: the image of that kind becomes a snapshot of "guest".
back_up () {
  need jq nbdkit qemu-system-x86_64
  image=$("$top_srcdir/tests/support/make-image" --path "$1") ||
    skip "guest image $1 is not made: ./quickstart images $1"
  image_before=$(stat -c '%Y %b' "$image")
  make_repository
  printf '%s\n' "$2" > vm.json
  expect 0 backup guest "disk0=$image" --config vm.json
  fingerprint repo > before
}

# boot_guest OPTION...: to the login prompt.
boot_guest () {
  local started=$SECONDS
  expect 0 boot guest "$@" --wait-for 'login:' --timeout "$boot_timeout" --json
  jq -r '.seen' out | grep -q 'login:' || fail "$(cat out)"
  echo "  login prompt after $((SECONDS - started)) s"
}

# in_guest COMMAND...: log in on the console and run each.
in_guest () {
  local steps=() command
  for command; do steps+=(run "$command"); done
  "$top_srcdir/tests/support/serial-talk" --timeout "$boot_timeout" \
    --command "'$top_builddir/run' livemount console guest" \
    login "${steps[@]}" logout
  # The console that it used goes on until the guest is silent.
  flock -w 30 state/sessions/guest/serial.sock.lock true
}

# The end: nothing of it all is in the backup or in the image.
unmount_guest () {
  expect 0 unmount guest --yes --purge
  fingerprint repo > after
  same before after
  [ "$image_before" = "$(stat -c '%Y %b' "$image")" ] ||
    fail "the image itself was changed"
}
