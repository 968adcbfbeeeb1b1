#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What happens on the server until its third day.  Runs in the guest, in a
# folder with the packages of the day.
set -eu

# A new program, a repaired installation, and one program less.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
dpkg --force-confold --force-unsafe-io -i ./*.deb
dpkg --purge redis-server

db=/srv/app/app.db
server-data rows 31 203001 3000 | sqlite3 "$db"
for i in 11 12 13 14 15; do
  sqlite3 "$db" "UPDATE orders SET note = note || ' paid'
                 WHERE (id * 2654435761) % 200000 / 1000 = $i;"
done
sqlite3 "$db" 'DELETE FROM orders WHERE id < 2000;'

server-data mail /srv/mail 32 200
rm -rf /srv/mail/22-1?.eml
server-data photos /srv/photos 33 3
mkdir /srv/photos/2023
mv /srv/photos/3-2?.jpg /srv/photos/2023

cd /var/log/nginx
server-data log 34 30000 >> access.log
