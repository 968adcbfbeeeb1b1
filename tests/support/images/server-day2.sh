#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What happens on the server until its second day.  Runs in the guest, in a
# folder with the packages of the day.
set -eu

# Security updates, and one more program.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
dpkg --force-confold --force-unsafe-io -i ./*.deb

# Orders come in, some change; each commit syncs, as it does in life.
db=/srv/app/app.db
server-data rows 21 200001 3000 | sqlite3 "$db"
for i in 1 2 3 4 5; do
  sqlite3 "$db" "UPDATE orders SET cents = cents + 100 + $i
                 WHERE (id * 2654435761) % 200000 / 1000 = $i;"
done

server-data mail /srv/mail 22 150
rm -f /srv/mail/2-1?7.eml /srv/mail/2-2??3.eml
server-data photos /srv/photos 23 4
rm -f /srv/photos/3-17.jpg

cd /var/log/nginx
rm -f access.log.4.gz
mv access.log.3.gz access.log.4.gz
mv access.log.2.gz access.log.3.gz
gzip -n < access.log.1 > access.log.2.gz
mv access.log access.log.1
server-data log 24 40000 > access.log
