# SPDX-License-Identifier: Apache-2.0
# tests/ may include anything.
#
# A Criterion program per module: tests/unit/test-<module>.c.  Its source
# follows from its name, and it links to everything; so a new one is one
# line here.
check_LTLIBRARIES += libsupport.la
libsupport_la_SOURCES = \
	%reldir%/support/fake-nbd.c \
	%reldir%/support/fake-nbd.h \
	%reldir%/support/fixtures-describe.c \
	%reldir%/support/fixtures.c \
	%reldir%/support/fixtures.h \
	%reldir%/support/image-holder.c \
	%reldir%/support/image-holder.h \
	%reldir%/support/io-crash.c \
	%reldir%/support/io-crash.h \
	%reldir%/support/loop.c \
	%reldir%/support/loop.h \
	%reldir%/support/memory-disk.c \
	%reldir%/support/memory-disk.h \
	%reldir%/support/overlay-rig.c \
	%reldir%/support/overlay-rig.h \
	%reldir%/support/nbdkit.c \
	%reldir%/support/nbdkit.h \
	%reldir%/support/plugin-rig.c \
	%reldir%/support/plugin-rig.h \
	%reldir%/support/scratch.c \
	%reldir%/support/scratch.h \
	%reldir%/support/store-fault.c \
	%reldir%/support/store-fault.h \
	%reldir%/support/store-memory.c \
	%reldir%/support/store-memory.h \
	%reldir%/support/test-repo.c \
	%reldir%/support/test-repo.h \
	%reldir%/support/test-repository.c \
	%reldir%/support/test-repository.h

AM_LDADD_TESTS = libsupport.la libproxy.la libmount.la libformats.la libglue.la libcommon.la $(CRITERION_LIBS)
LDADD = $(AM_LDADD_TESTS)

if HAVE_CRITERION
criterion_tests = \
	tests/conformance/test-disk \
	tests/conformance/test-native-fixtures \
	tests/conformance/test-store \
	tests/conformance/test-target \
	tests/corrupt/test-native-objects \
	tests/corrupt/test-repository-damage \
	tests/unit/test-backup \
	tests/unit/test-base-chunks \
	tests/unit/test-check \
	tests/unit/test-client-state \
	tests/unit/test-credentials \
	tests/unit/test-disk-file \
	tests/unit/test-disk-image \
	tests/unit/test-disk-nbd \
	tests/unit/test-escrow \
	tests/unit/test-forget \
	tests/unit/test-gc \
	tests/unit/test-index-run \
	tests/unit/test-inspect \
	tests/unit/test-journal \
	tests/unit/test-json \
	tests/unit/test-journal-state \
	tests/unit/test-key-slot \
	tests/unit/test-lease \
	tests/unit/test-paper-key \
	tests/unit/test-lease-watch \
	tests/unit/test-process \
	tests/unit/test-repo-config \
	tests/unit/test-repository \
	tests/unit/test-resolve \
	tests/unit/test-retention \
	tests/unit/test-seal \
	tests/unit/test-secrets \
	tests/unit/test-size \
	tests/unit/test-slot-change \
	tests/unit/test-snapshot \
	tests/unit/test-store-dir \
	tests/unit/test-timed-wait

check_PROGRAMS += $(criterion_tests)
TESTS += $(criterion_tests)
endif

# hypervisor-glue/ and what it stands on.
if HAVE_CRITERION
criterion_glue_tests = \
	tests/e2e/test-machine-boot \
	tests/unit/test-accel \
	tests/unit/test-console \
	tests/unit/test-firmware \
	tests/unit/test-machine-qemu \
	tests/unit/test-nbd-uri \
	tests/unit/test-qemu-command \
	tests/unit/test-qmp \
	tests/unit/test-vm-config

check_PROGRAMS += $(criterion_glue_tests)
TESTS += $(criterion_glue_tests)
endif

# mount/.
if HAVE_CRITERION
criterion_mount_tests = \
	tests/unit/test-options \
	tests/unit/test-restore-disk \
	tests/unit/test-session \
	tests/unit/test-table

check_PROGRAMS += $(criterion_mount_tests)
TESTS += $(criterion_mount_tests)
endif

# proxy/.
if HAVE_CRITERION
criterion_proxy_tests = \
	tests/e2e/test-plugin \
	tests/unit/test-bitmap \
	tests/crash/test-overlay-crash \
	tests/crash/test-overlay-ext4 \
	tests/unit/test-cache \
	tests/unit/test-overlay \
	tests/unit/test-overlay-faults \
	tests/unit/test-proxy-config \
	tests/unit/test-readahead

check_PROGRAMS += $(criterion_proxy_tests)
TESTS += $(criterion_proxy_tests)
endif
# The plugin without nbdkit, for builds with sanitizers.
plugin_driver = tests/threads/drive-plugin
check_PROGRAMS += $(plugin_driver)
TESTS += $(plugin_driver)
tests_threads_drive_plugin_SOURCES = \
	%reldir%/threads/drive-plugin.c \
	proxy/plugin.c \
	proxy/plugin-report.c
tests_threads_drive_plugin_CPPFLAGS = $(AM_CPPFLAGS) $(NBDKIT_CFLAGS) \
	$(JANSSON_CFLAGS)
tests_threads_drive_plugin_LDADD = libsupport.la libproxy.la

# What scripts need beside the program itself.
check_PROGRAMS += tests/support/put-lease
tests_support_put_lease_LDADD = libformats.la libcommon.la

# What made fixtures/ (see its MANIFEST); not run by anything.
EXTRA_PROGRAMS = tests/support/make-fixtures
EXTRA_DIST += fixtures

# Guest images, and what talks to guests.
EXTRA_DIST += \
	%reldir%/expected-skips \
	%reldir%/support/boot-check \
	%reldir%/support/demo \
	%reldir%/support/images/recipe.sh \
	%reldir%/support/images/server-data \
	%reldir%/support/images/server-day1.sh \
	%reldir%/support/images/server-day2.sh \
	%reldir%/support/images/server-day3.sh \
	%reldir%/support/images/server.sh \
	%reldir%/support/make-image \
	%reldir%/support/sanitized/leaks \
	%reldir%/support/sanitized/nbdkit \
	%reldir%/support/serial-talk

# The benchmark; `make bench-programs` is what it needs built.
bench_programs = tests/bench/make-huge-repository tests/bench/nbd-load
check_PROGRAMS += $(bench_programs)
tests_bench_make_huge_repository_LDADD = libformats.la libcommon.la
tests_bench_nbd_load_CPPFLAGS = $(AM_CPPFLAGS) $(LIBNBD_CFLAGS)
tests_bench_nbd_load_LDADD = libcommon.la $(LIBNBD_LIBS)
EXTRA_DIST += \
	%reldir%/bench/backup.py \
	%reldir%/bench/bench \
	%reldir%/bench/boot.py \
	%reldir%/bench/collect.py \
	%reldir%/bench/delta.py \
	%reldir%/bench/harness.py \
	%reldir%/bench/livemount.py \
	%reldir%/bench/mount1t.py \
	%reldir%/bench/overlay.py \
	%reldir%/bench/peers.py \
	%reldir%/bench/reads.py

bench-programs: $(bench_programs)
.PHONY: bench-programs

# What is checked about the sources themselves.
style_tests = \
	tests/style/man-pages \
	tests/style/plugin-parameters \
	tests/style/scripts \
	tests/style/sources

dist_check_SCRIPTS += $(style_tests)
TESTS += $(style_tests)

include $(srcdir)/tests/crash/local.mk
include $(srcdir)/tests/fuzz/local.mk
# The program from outside, as users run it.
EXTRA_DIST += %reldir%/support/boot.sh %reldir%/support/lib.sh
e2e_tests = \
	tests/e2e/backup-restore \
	tests/e2e/base-chunks \
	tests/e2e/bad-input \
	tests/e2e/boot-bios \
	tests/e2e/boot-kernel \
	tests/e2e/boot-sata \
	tests/e2e/boot-uefi \
	tests/e2e/completion \
	tests/e2e/gc \
	tests/e2e/help-and-doctor \
	tests/e2e/interrupt-backup \
	tests/e2e/key-secrecy \
	tests/e2e/keys \
	tests/e2e/kill-mount \
	tests/e2e/live-mount \
	tests/e2e/retention

dist_check_SCRIPTS += $(e2e_tests)
TESTS += $(e2e_tests)
AM_TESTS_ENVIRONMENT = abs_top_builddir='$(abs_top_builddir)'; \
	export abs_top_builddir;
