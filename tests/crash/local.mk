# SPDX-License-Identifier: Apache-2.0
# Crashes, power loss, failing system calls, full disks, several at once.
if HAVE_CRITERION
criterion_crash_tests = \
	%reldir%/test-io-faults \
	%reldir%/test-power-loss

check_PROGRAMS += $(criterion_crash_tests)
TESTS += $(criterion_crash_tests)
endif
