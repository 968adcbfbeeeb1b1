# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: Apache-2.0
#
# The recipes of the server's disk on three days; see recipe.sh, after which
# make-image sources this file.  $here is the folder of make-image.

# The cloud root as a server on its first day.  In it, days/ has the packages
# that are installed later; it is not part of any disk.
recipe_make_root_server () {
  local tmp=$1 base=$2
  cp "$here/images/server-data" "$here/images/server-day1.sh" "$tmp"
  debootstrap_tar "$tmp/root.tar" --variant=custom \
    --setup-hook="tar -C \"\$1\" --numeric-owner -xf '$base'" \
    --customize-hook="$tmp/server-day1.sh \"\$1\""
  mv "$tmp/root.tar" "$tmp/out"
}

recipe_make_server1 () {
  as_root_function make_bios_disk "$1" debian-server 6144 "$2"
}

# make_server_day TMP DAY BEFORE.raw ROOT.TAR: let the guest itself live on for
# a day.  Changing the tree and making the file system anew would move every
# file; a file system that changes in use is what a backup meets.  The packages
# of the day come on a second disk and never lie on this one.
make_server_day () {
  local tmp=$1 day=$2
  mkdir -p "$tmp/r"
  tar -C "$tmp/r" --strip-components=3 -xf "$4" --wildcards "./days/$day/*.deb"
  cp "$here/images/server-$day.sh" "$tmp/r/run"
  tar -C "$tmp/r" -cf "$tmp/day.tar" .
  cp --sparse=always "$3" "$tmp/disk"
  "$here/boot-check" --write --drive "$tmp/day.tar" --memory 1024 \
    --timeout 3600 --log "$tmp/console" --poweroff \
    --run 'mkdir /run/day && mount -t tmpfs -o size=800m day /run/day' \
    --run 'tar -C /run/day -xf /dev/vdb' --run 'cd /run/day && sh ./run' \
    "$tmp/disk"
  e2fsck -fn "$tmp/disk?offset=1048576"
  mv "$tmp/disk" "$tmp/out"
}

recipe_make_server2 () {
  make_server_day "$1" day2 "$2" "$3"
}

recipe_make_server3 () {
  make_server_day "$1" day3 "$2" "$3"
}
