# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For the scripts of this folder, which source it: a scratch folder with a
# repository, and livemount as it was built.  They run in the build folder.
set -euo pipefail
top=$PWD
scratch=$(mktemp -d "${TMPDIR:-/tmp}/livemount-crash.XXXXXX")
export XDG_CACHE_HOME=$scratch/cache XDG_STATE_HOME=$scratch/state
export XDG_RUNTIME_DIR=$scratch/run XDG_DATA_HOME=$scratch/data
export LIVEMOUNT_REPOSITORY=$scratch/repo LIVEMOUNT_KEY_FILE=$scratch/key
unset LIVEMOUNT_PASSPHRASE_FILE LIVEMOUNT_PASSPHRASE_COMMAND
on_exit=:
# shellcheck disable=SC2064 # $scratch is known now
trap "eval \"\$on_exit\"; rm -rf '$scratch'" EXIT

lm () { "$top/livemount" "$@"; }

fail () {
  echo "FAILED: $*"
  for file in "$scratch"/out "$scratch"/err; do
    [ ! -s "$file" ] || sed "s|^|  ${file##*/}: |" "$file" | tail -n 20
  done
  exit 1
}

# run CODE COMMAND...: livemount must end with this exit code; its output
# goes to $scratch/out and $scratch/err.
run () {
  local want=$1 code=0
  shift
  lm "$@" > "$scratch/out" 2> "$scratch/err" || code=$?
  [ "$code" = "$want" ] || fail "livemount $*: exit code $code, not $want"
}

# Errors are one line, and a hint below it at most.
expect_error () {
  grep -q "$1" "$scratch/err" || fail "no word of '$1'"
  [ "$(grep -c '^livemount: ' "$scratch/err")" = 1 ] ||
    fail "not one line of error"
}

# json KEY: a number or string of the JSON in $scratch/out.
json () {
  sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" \
    "$scratch/out" | head -n 1
}

new_repository () {
  head -c 64 /dev/urandom > "$LIVEMOUNT_KEY_FILE"
  run 0 init
}

count_snapshots () { lm snapshots --json | grep -c '"time"' || true; }

# expect_clean: nothing is damaged, every chunk read.
expect_clean () { run 0 check --read-data; }

# expect_restored VM FILE: the newest snapshot of VM holds FILE's bytes.
expect_restored () {
  rm -f "$scratch/restored"
  run 0 restore "$1" "$scratch/restored"
  cmp -s "$scratch/restored" "$2" || fail "$1 restores to something else"
  rm -f "$scratch/restored"
}

# change FILE MIB: new random bytes at a random place, in whole MiB.
change () {
  local size
  size=$(($(stat -c %s "$1") >> 20))
  dd if=/dev/urandom of="$1" bs=1M count="$2" conv=notrunc status=none \
    seek=$((RANDOM % (size - $2 + 1)))
}

now_ms () { echo $(($(date +%s%N) / 1000000)); }

sleep_ms () { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }
