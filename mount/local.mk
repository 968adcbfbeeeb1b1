# SPDX-License-Identifier: Apache-2.0
# mount/ includes formats/, hypervisor-glue/ and common/.
#
# All but main.c is a library, so that the unit tests can link to it.
noinst_LTLIBRARIES += libmount.la
libmount_la_SOURCES = \
	%reldir%/capture.c \
	%reldir%/capture.h \
	%reldir%/cli.h \
	%reldir%/cmd-completion.c \
	%reldir%/cmd-doctor.c \
	%reldir%/cmd-init.c \
	%reldir%/cmd-key-list.c \
	%reldir%/cmd-leases.c \
	%reldir%/cmd-version.c \
	%reldir%/commands.c \
	%reldir%/commands.h \
	%reldir%/help.c \
	%reldir%/help.h \
	%reldir%/open-repository.c \
	%reldir%/open-repository.h \
	%reldir%/options.c \
	%reldir%/options.h \
	%reldir%/progress.c \
	%reldir%/progress.h \
	%reldir%/report.c \
	%reldir%/report.h \
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
