# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the guest images are made of.  Sourced by make-image, which names each
# image by a hash of this file: every change here makes all images anew.
#
# A recipe is recipe_make_<name> TMP NEEDED...: it may use the folder TMP,
# writes TMP/out, and gets in NEEDED the paths of what recipe_needs names.

# shellcheck disable=SC2034 # used by make-image
recipe_names=(root-cloud root-full root-server bios uefi bios-full
              server1 server2 server3)
guest_password=livemount
# SHA-512 with a fixed salt, so that two builds agree: openssl passwd -6 -salt
# shellcheck disable=SC2016 # dollars as they are
guest_password_hash='$6$livemount$kR4tF7OVN0r1WT4N1gqy0ODxtCoCYyr0T07g5IYndxhTDvdel557nEIlh225.cTkoaS6qJtdhRgp.66wDCMsm/'

# What a guest has, kernel apart.
guest_packages=systemd-sysv,udev,dbus,kmod,iproute2,initramfs-tools,zstd

recipe_needs () {
  case $1 in
    root-cloud) ;;
    root-full) echo root-cloud ;;
    root-server) echo root-cloud ;;
    bios | uefi) echo root-cloud ;;
    bios-full) echo root-full ;;
    server1) echo root-server ;;
    server2) echo server1 root-server ;;
    server3) echo server2 root-server ;;
  esac
}

# ---- root trees, as tar files -------------------------------------------

# debootstrap_tar OUT OPTION...: run mmdebstrap as all the root trees need it.
debootstrap_tar () {
  local out=$1 proxy options
  shift
  options=(
    --format=tar
    --dpkgopt='path-exclude=/usr/share/doc/*'
    --dpkgopt='path-include=/usr/share/doc/*/copyright'
    --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/info/*'
    --dpkgopt='path-exclude=/usr/share/locale/*'
    --dpkgopt='path-exclude=/usr/share/i18n/*'
    --dpkgopt='force-unsafe-io'
  )
  # A proxy that this machine's apt uses is the way to the mirror here too.
  proxy=$(apt-config shell p Acquire::http::Proxy)
  if [ -n "$proxy" ]; then
    eval "$proxy"
    # shellcheck disable=SC2154 # set by the eval
    options+=(--aptopt="Acquire::http::Proxy \"$p\"")
  fi
  if [ -n "${LIVEMOUNT_MIRROR:-}" ]; then
    mmdebstrap "${options[@]}" "$@" bookworm "$out" "$LIVEMOUNT_MIRROR"
  else
    mmdebstrap "${options[@]}" "$@" bookworm "$out"
  fi
}

# The base of all: Debian's minimal base, systemd and the cloud kernel.
recipe_make_root_cloud () {
  local tmp=$1
  guest_early_script > "$tmp/early"
  guest_late_script > "$tmp/late"
  chmod 755 "$tmp/early" "$tmp/late"
  debootstrap_tar "$tmp/root.tar" --variant=minbase \
    --include="$guest_packages,linux-image-cloud-amd64" \
    --essential-hook="$tmp/early \"\$1\"" \
    --customize-hook="$tmp/late \"\$1\""
  mv "$tmp/root.tar" "$tmp/out"
}

# The same with Debian's full kernel instead of the cloud one.
# shellcheck disable=SC2016 # expanded by the hook's shell
recipe_make_root_full () {
  local tmp=$1 base=$2
  debootstrap_tar "$tmp/root.tar" --variant=custom \
    --setup-hook="tar -C \"\$1\" --numeric-owner -xf '$base'" \
    --include=linux-image-amd64 \
    --customize-hook='chroot "$1" sh -c "
      DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y purge linux-image-cloud-amd64 linux-image-\*-cloud-amd64"'
  mv "$tmp/root.tar" "$tmp/out"
}

# Runs before the packages that are not essential are installed, so that the
# one initramfs that the kernel's installation makes is right at once.
guest_early_script () {
  cat <<'END'
#!/bin/sh
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"
# Only what a disk is found with, whatever machine it wakes up on.
printf 'MODULES=list\nCOMPRESS=zstd\n' \
  > "$1/etc/initramfs-tools/conf.d/small"
cat > "$1/etc/initramfs-tools/hooks/disks" <<'HOOK'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
# A module that this kernel flavour lacks is left out without a word.
manual_add_modules virtio_pci virtio_blk virtio_scsi sd_mod nvme ext4 \
  vmw_pvscsi ahci ata_piix mptspi mptsas sym53c8xx
HOOK
chmod 755 "$1/etc/initramfs-tools/hooks/disks"
END
}

# Runs at the end: what makes the guest easy to talk to and quick to boot.
guest_late_script () {
  cat <<END
#!/bin/sh
set -e
echo 'root:$guest_password_hash' | chroot "\$1" chpasswd -e
: > "\$1/etc/resolv.conf"
END
  cat <<'END'
# Nothing here is of use to a guest that lives for minutes.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
            e2scrub_all.timer e2scrub_reap.service fstrim.timer \
            systemd-tmpfiles-clean.timer getty@tty1.service \
            systemd-pstore.service systemd-firstboot.service \
            systemd-sysusers.service systemd-update-utmp.service \
            systemd-update-utmp-runlevel.service \
            kmod-static-nodes.service modprobe@configfs.service \
            modprobe@dm_mod.service modprobe@drm.service \
            modprobe@efi_pstore.service modprobe@fuse.service \
            modprobe@loop.service \
            dev-hugepages.mount dev-mqueue.mount sys-kernel-config.mount \
            sys-kernel-debug.mount sys-kernel-tracing.mount \
            sys-fs-fuse-connections.mount; do
  ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
# The login prompt first.  What handles the power button may come after it.
for unit in systemd-logind dbus; do
  mkdir -p "$1/etc/systemd/system/$unit.service.d"
  printf '[Unit]\nAfter=getty.target\n' \
    > "$1/etc/systemd/system/$unit.service.d/late.conf"
done
# Neither need the prompt wait for udev's look at every device.
sed -e '/^Before=/d' -e 's/^After=/After=getty.target /' \
  "$1/lib/systemd/system/systemd-udev-trigger.service" \
  > "$1/etc/systemd/system/systemd-udev-trigger.service"
# A console that is there from the start need not wait for udev to say so.
sed '/dev-%i.device/d' "$1/lib/systemd/system/serial-getty@.service" \
  > "$1/etc/systemd/system/serial-getty@.service"
mkdir -p "$1/etc/systemd/system/getty.target.wants"
ln -sf ../serial-getty@.service \
  "$1/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
END
}

# ---- disks ---------------------------------------------------------------

# Fixed names and times, so that what differs between two builds is content.
disk_id=0x4c4d0001
gpt_id=4c4d0000-0000-4000-8000-000000000001
esp_id=4c4d0000-0000-4000-8000-000000000002
part_id=4c4d0000-0000-4000-8000-000000000003
root_fs_id=4c4d0000-0000-4000-8000-000000000004
hash_seed=4c4d0000-0000-4000-8000-000000000005

# unpack_root TMP TAR HOSTNAME: TMP/r with what depends on the disk.
unpack_root () {
  local tmp=$1 tar=$2 hostname=$3
  mkdir "$tmp/r"
  tar -C "$tmp/r" --numeric-owner --exclude='./dev/*' --exclude=./days -xf "$tar"
  echo "$hostname" > "$tmp/r/etc/hostname"
  printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n' "$hostname" > "$tmp/r/etc/hosts"
  # The journal is all the repair that a guest of minutes needs.
  printf 'UUID=%s / ext4 errors=remount-ro 0 0\n' "$root_fs_id" \
    > "$tmp/r/etc/fstab"
  # An empty one would make every boot a "first boot" with all its presets.
  echo 6c6976656d6f756e742067756573740a > "$tmp/r/etc/machine-id"
  mkdir -p "$tmp/r/boot/grub"
  cat > "$tmp/r/boot/grub/grub.cfg" <<END
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry 'Debian GNU/Linux' {
  linux /vmlinuz root=UUID=$root_fs_id ro console=ttyS0,115200 net.ifnames=0 mitigations=off
  initrd /initrd.img
}
END
}

# make_root_fs DISK ROOT OFFSET_SECTORS SIZE_SECTORS
make_root_fs () {
  # Nothing is left for the first mount to zero: a guest that only boots
  # writes next to nothing.
  E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -F -t ext4 -L root \
    -U "$root_fs_id" -d "$2" \
    -E "offset=$(($3 * 512)),hash_seed=$hash_seed,nodiscard,\
lazy_itable_init=0,lazy_journal_init=0" \
    "$1" "$(($4 / 2))k"
  e2fsck -fn "$1?offset=$(($3 * 512))"
}

# make_bios_disk TMP HOSTNAME SIZE_MIB ROOT.TAR: MBR and GRUB for BIOS.
make_bios_disk () {
  local tmp=$1 sectors=$(($3 * 2048)) disk=$1/disk
  unpack_root "$tmp" "$4" "$2"
  truncate -s "$3M" "$disk"
  printf 'label: dos\nlabel-id: %s\nstart=2048, type=83, bootable\n' \
    "$disk_id" | sfdisk -q "$disk"
  make_root_fs "$disk" "$tmp/r" 2048 $((sectors - 2048))
  grub_early_config > "$tmp/early.cfg"
  grub-mkimage -O i386-pc -o "$tmp/core.img" -c "$tmp/early.cfg" \
    -p /boot/grub biosdisk part_msdos ext2 normal linux serial terminal \
    configfile search_fs_uuid
  dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 \
    conv=notrunc status=none
  dd if="$tmp/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
  mv "$disk" "$tmp/out"
}

# make_uefi_disk TMP HOSTNAME SIZE_MIB ROOT.TAR: GPT, ESP with the fallback
# boot path, so that no NVRAM entry is needed.
make_uefi_disk () {
  local tmp=$1 sectors=$(($3 * 2048)) disk=$1/disk esp
  unpack_root "$tmp" "$4" "$2"
  truncate -s "$3M" "$disk"
  sfdisk -q "$disk" <<END
label: gpt
label-id: $gpt_id
start=2048, size=131072, type=U, uuid=$esp_id, name=esp
start=133120, type=L, uuid=$part_id, name=root
END
  make_root_fs "$disk" "$tmp/r" 133120 $((sectors - 133120 - 2048))
  grub_early_config > "$tmp/early.cfg"
  grub-mkimage -O x86_64-efi -o "$tmp/BOOTX64.EFI" -c "$tmp/early.cfg" \
    -p /boot/grub part_gpt ext2 fat normal linux serial terminal \
    configfile search_fs_uuid
  esp=$disk@@1M
  mformat -i "$esp" -T 131072 -F -N 4c4d0006 ::
  mmd -i "$esp" ::/EFI ::/EFI/BOOT
  mcopy -i "$esp" "$tmp/BOOTX64.EFI" ::/EFI/BOOT/
  mv "$disk" "$tmp/out"
}

# The disk is found by its file system, whatever number the firmware gave it.
grub_early_config () {
  cat <<END
search.fs_uuid $root_fs_id root
set prefix=(\$root)/boot/grub
configfile \$prefix/grub.cfg
END
}

recipe_make_bios () {
  as_root_function make_bios_disk "$1" debian-bios 2048 "$2"
}

recipe_make_uefi () {
  as_root_function make_uefi_disk "$1" debian-uefi 2048 "$2"
}

recipe_make_bios_full () {
  as_root_function make_bios_disk "$1" debian-bios-full 2048 "$2"
}

# as_root_function FUNCTION ARG...: as_root for a function of this file.
# shellcheck disable=SC2016 # expanded by the inner shell
as_root_function () {
  as_root bash -c 'set -euo pipefail; . "$0"; "$@"' \
    "${BASH_SOURCE[0]}" "$@"
}
