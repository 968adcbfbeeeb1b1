# SPDX-License-Identifier: Apache-2.0
# Crashes, power loss, failing system calls, full disks, several at once.
if HAVE_CRITERION
criterion_crash_tests = \
	%reldir%/test-io-faults \
	%reldir%/test-power-loss

check_PROGRAMS += $(criterion_crash_tests)
TESTS += $(criterion_crash_tests)
endif

crash_scripts = \
	%reldir%/concurrent \
	%reldir%/full-disk \
	%reldir%/full-forget \
	%reldir%/gc-model \
	%reldir%/kill-backup

dist_check_SCRIPTS += $(crash_scripts)
EXTRA_DIST += %reldir%/lib.sh
TESTS += $(crash_scripts)
