#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# server-day1.sh ROOT: what a server's root tree has on its first day.  Runs
# as a customize hook of mmdebstrap, outside of ROOT, beside server-data.
set -eu
root=$1
here=$(dirname "$0")

# Documents and languages are part of a server as people have it.
rm -f "$root"/etc/dpkg/dpkg.cfg.d/*

# All programs as the last point release had them, the kernel apart; what has
# been fixed since then is downloaded for day 2, and new programs for both days.
cp "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.all"
grep -v -e security -e updates "$root/etc/apt/sources.list.all" \
  > "$root/etc/apt/sources.list"
printf 'Package: *\nPin: release n=bookworm\nPin-Priority: 1001\n' \
  > "$root/etc/apt/preferences.d/point-release"
in_root () {
  chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    apt-get -q -y --no-install-recommends "$@"
}
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$root/etc/resolv.conf"
in_root update
chroot "$root" sh -c 'apt-mark hold linux-image-\*-amd64'
in_root --allow-downgrades dist-upgrade
in_root install build-essential cron curl git logrotate nginx-light nodejs \
  openssh-server postgresql-client python3-dev rsyslog \
  sqlite3 vim
mv "$root/etc/apt/sources.list.all" "$root/etc/apt/sources.list"
rm "$root/etc/apt/preferences.d/point-release"
in_root update
for day in day2 day3; do
  mkdir -p "$root/days/$day/partial"
done
in_root -o Dir::Cache::archives=/days/day2 --download-only dist-upgrade
in_root -o Dir::Cache::archives=/days/day2 --download-only install redis-server
in_root -o Dir::Cache::archives=/days/day3 --download-only install php-cli
in_root -o Dir::Cache::archives=/days/day3 --download-only install \
  --reinstall nginx-light nginx-common openssh-server openssh-client
rm -f "$root/usr/sbin/policy-rc.d"
# A guest without KVM unpacks xz at a walking pace.
for deb in "$root"/days/*/*.deb; do
  dpkg-deb -R "$deb" "$root/days/deb"
  dpkg-deb -Znone -b "$root/days/deb" "$deb"
  rm -rf "$root/days/deb"
done
: > "$root/etc/resolv.conf"

mkdir -p "$root/srv/app" "$root/srv/mail" "$root/srv/photos" \
  "$root/var/log/nginx"
cp "$here/server-data" "$root/usr/local/bin/server-data"
chmod 755 "$root/usr/local/bin/server-data"
data () { "$here/server-data" "$@"; }
data rows 1 1 200000 | chroot "$root" sqlite3 /srv/app/app.db
data mail "$root/srv/mail" 2 3000
data photos "$root/srv/photos" 3 60
data log 4 150000 > "$root/var/log/nginx/access.log"
data log 5 150000 > "$root/var/log/nginx/access.log.1"
for i in 2 3 4; do
  data log 1$i 150000 | gzip -n > "$root/var/log/nginx/access.log.$i.gz"
done
