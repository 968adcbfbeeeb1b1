# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the end-to-end tests have in common: a folder of their own, a run of
# livemount whose exit code and messages are looked at, and an end that leaves
# nothing running or mounted.
#
# A test sources this file, then calls `t NAME` before each part, so that a
# failure says where it was.  Every check ends the test at once when it fails.
set -euo pipefail

top_builddir=${abs_top_builddir:-$PWD}
top_srcdir=${srcdir:-.}
top_srcdir=$(cd "$top_srcdir" && pwd)
export LC_ALL=C.UTF-8

work=$(mktemp -d "${TMPDIR:-/tmp}/lm.XXXXXX")
part=start
export LIVEMOUNT_STATE_DIR=$work/state
export XDG_CACHE_HOME=$work/cache XDG_STATE_HOME=$work/client
export LIVEMOUNT_REPOSITORY=$work/repo LIVEMOUNT_KEY_FILE=$work/key
unset LIVEMOUNT_PASSPHRASE_FILE LIVEMOUNT_PASSPHRASE_COMMAND
cd "$work"

# livemount as a user of the build tree runs it.
lm () {
  "$top_builddir/run" livemount "$@"
}

# End what the sessions of this test still run, then remove all.
at_exit () {
  local status=$? session
  set +e
  trap '' INT TERM HUP
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
    echo "FAILED in: $part (exit $status)"
    tail -n 20 out err "$LIVEMOUNT_STATE_DIR"/sessions/*/*.log 2> /dev/null
  fi
  for session in "$LIVEMOUNT_STATE_DIR"/sessions/*/; do
    [ -d "$session" ] || continue
    lm unmount --yes --purge "$(basename "$session")" > /dev/null 2>&1
  done
  for session in "${mounts[@]}"; do umount "$session" 2> /dev/null; done
  cd / && rm -rf -- "$work"
  exit "$status"
}
mounts=()
trap at_exit EXIT
trap 'exit 1' INT TERM HUP

t () {
  part=$*
  echo "- $*"
}

fail () {
  echo "$*"
  exit 1
}

skip () {
  echo "SKIP: $*"
  exit 77
}

need () {
  local program
  for program; do
    command -v "$program" > /dev/null || skip "$program is not installed"
  done
}

# expect CODE livemount-arguments...: output in the files out and err.
expect () {
  local wanted=$1 code=0
  shift
  lm "$@" > out 2> err < /dev/null || code=$?
  [ "$code" -eq "$wanted" ] ||
    fail "livemount $*: exit $code, expected $wanted: $(cat err)"
}

# An error is one line, perhaps with a hint, and says this.
says () {
  grep -qF -- "$1" err || fail "message lacks '$1': $(cat err)"
  [ "$(grep -c '^livemount: ' err)" -eq 1 ] ||
    fail "not one line of error: $(cat err)"
}

same () {
  cmp -- "$1" "$2" || fail "$1 and $2 differ"
}

# random_file NAME SIZE
random_file () {
  head -c "$2" /dev/urandom > "$1"
}

# A sparse file with data in it: random_disk NAME SIZE(M) DATA(M)
random_disk () {
  truncate -s "$2M" "$1"
  dd if=/dev/urandom of="$1" bs=1M count="$3" seek=$(($2 / 4)) conv=notrunc \
    status=none
}

# Everything in the store, as a list of names and hashes.
fingerprint () {
  (cd "$1" && find . -type f ! -path './tmp/*' -exec sha256sum {} + | sort)
}

make_repository () {
  expect 0 init -q
}

# json FILTER VALUE: what jq says about the file out.
json () {
  local value
  value=$(jq -r "$1" out)
  [ "$value" = "$2" ] || fail "$1 is '$value', expected '$2'"
}
