# SPDX-License-Identifier: Apache-2.0
# hypervisor-glue/ includes common/ only.
noinst_LTLIBRARIES += libglue.la
libglue_la_SOURCES = \
	%reldir%/accel.c \
	%reldir%/accel.h \
	%reldir%/console-talk.c \
	%reldir%/console-talk.h \
	%reldir%/console-wait.c \
	%reldir%/console-wait.h \
	%reldir%/firmware.c \
	%reldir%/firmware.h \
	%reldir%/machine-internal.h \
	%reldir%/machine-qemu.c \
	%reldir%/machine.c \
	%reldir%/machine.h \
	%reldir%/nbd-uri.c \
	%reldir%/nbd-uri.h \
	%reldir%/qemu-command.c \
	%reldir%/qemu-command.h \
	%reldir%/qmp.c \
	%reldir%/qmp.h \
	%reldir%/vm-config-json.c \
	%reldir%/vm-config-json.h \
	%reldir%/vm-config-libvirt.c \
	%reldir%/vm-config-libvirt.h \
	%reldir%/vm-config.c \
	%reldir%/vm-config.h
libglue_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBXML2_CFLAGS)
libglue_la_LIBADD = libcommon.la $(JANSSON_LIBS) $(LIBXML2_LIBS)

hypervisor-glue: libglue.la
.PHONY: hypervisor-glue
