# SPDX-License-Identifier: Apache-2.0
# mount/ includes formats/, hypervisor-glue/ and common/.
#
# All but main.c is a library, so that the unit tests can link to it.
noinst_LTLIBRARIES += libmount.la
libmount_la_SOURCES = \
	%reldir%/capture.c \
	%reldir%/capture.h \
	%reldir%/cli.h \
	%reldir%/cmd-backup.c \
	%reldir%/cmd-boot.c \
	%reldir%/cmd-check.c \
	%reldir%/cmd-completion.c \
	%reldir%/cmd-console.c \
	%reldir%/cmd-diff.c \
	%reldir%/cmd-doctor.c \
	%reldir%/cmd-forget.c \
	%reldir%/cmd-gc.c \
	%reldir%/cmd-init.c \
	%reldir%/cmd-inspect.c \
	%reldir%/cmd-key-add.c \
	%reldir%/cmd-key-export.c \
	%reldir%/cmd-key-import.c \
	%reldir%/cmd-key-list.c \
	%reldir%/cmd-key-remove.c \
	%reldir%/cmd-key-test.c \
	%reldir%/cmd-leases-break.c \
	%reldir%/cmd-leases.c \
	%reldir%/cmd-mount.c \
	%reldir%/cmd-protect.c \
	%reldir%/cmd-prune.c \
	%reldir%/cmd-restore.c \
	%reldir%/cmd-resume.c \
	%reldir%/cmd-sessions.c \
	%reldir%/cmd-show.c \
	%reldir%/cmd-snapshots.c \
	%reldir%/cmd-stats.c \
	%reldir%/cmd-stop.c \
	%reldir%/cmd-unmount.c \
	%reldir%/cmd-version.c \
	%reldir%/commands.c \
	%reldir%/commands.h \
	%reldir%/help.c \
	%reldir%/help.h \
	%reldir%/interrupt.c \
	%reldir%/interrupt.h \
	%reldir%/key-cli.c \
	%reldir%/key-cli.h \
	%reldir%/open-repository.c \
	%reldir%/open-repository.h \
	%reldir%/options.c \
	%reldir%/options.h \
	%reldir%/paper-page.c \
	%reldir%/paper-page.h \
	%reldir%/progress.c \
	%reldir%/progress.h \
	%reldir%/quick-file.c \
	%reldir%/quick-file.h \
	%reldir%/remove-tree.c \
	%reldir%/remove-tree.h \
	%reldir%/report.c \
	%reldir%/report.h \
	%reldir%/restore-disk.c \
	%reldir%/restore-disk.h \
	%reldir%/session-boot.c \
	%reldir%/session-boot.h \
	%reldir%/session-fuse.c \
	%reldir%/session-fuse.h \
	%reldir%/session-internal.h \
	%reldir%/session-machine.c \
	%reldir%/session-machine.h \
	%reldir%/session-mount.c \
	%reldir%/session-mount.h \
	%reldir%/session-proxy.c \
	%reldir%/session-proxy.h \
	%reldir%/session-record.c \
	%reldir%/session.c \
	%reldir%/session.h \
	%reldir%/snapshot-json.c \
	%reldir%/snapshot-json.h \
	%reldir%/snapshot-list.c \
	%reldir%/snapshot-list.h \
	%reldir%/table.c \
	%reldir%/table.h
libmount_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) \
	$(LIBCRYPTO_CFLAGS) $(LIBZSTD_CFLAGS) $(LIBNBD_CFLAGS)
libmount_la_LIBADD = $(LIBNBD_LIBS) $(LIBCRYPTO_LIBS) $(LIBZSTD_LIBS) \
	$(JANSSON_LIBS) -lm

bin_PROGRAMS += livemount
livemount_SOURCES = %reldir%/main.c
livemount_CPPFLAGS = $(libmount_la_CPPFLAGS)
livemount_LDADD = libmount.la libglue.la libformats.la libcommon.la

# The completion is made by the program itself, from its tables.
if HAVE_BASH_COMPLETION
bashcompletiondir = $(BASH_COMPLETION_DIR)
nodist_bashcompletion_DATA = %reldir%/completion/livemount
%reldir%/completion/livemount: livemount$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) %reldir%/completion && \
	ASAN_OPTIONS=detect_leaks=0 ./livemount$(EXEEXT) completion bash >$@.tmp && \
	mv $@.tmp $@
CLEANFILES += %reldir%/completion/livemount
endif

mount: livemount
.PHONY: mount
