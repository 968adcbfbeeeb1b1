# SPDX-License-Identifier: Apache-2.0
# common/ includes nothing of ours.
noinst_LTLIBRARIES += libcommon.la
libcommon_la_SOURCES = \
	%reldir%/banned.h \
	%reldir%/buffer.c \
	%reldir%/buffer.h \
	%reldir%/checked.h \
	%reldir%/cleanup.h \
	%reldir%/duration.c \
	%reldir%/duration.h \
	%reldir%/error.c \
	%reldir%/error.h \
	%reldir%/hex.c \
	%reldir%/hex.h \
	%reldir%/io.c \
	%reldir%/io.h \
	%reldir%/json.c \
	%reldir%/json.h \
	%reldir%/log.c \
	%reldir%/log.h \
	%reldir%/process.c \
	%reldir%/process.h \
	%reldir%/random.c \
	%reldir%/random.h \
	%reldir%/secret.c \
	%reldir%/secret.h \
	%reldir%/size.c \
	%reldir%/size.h \
	%reldir%/timed-wait.c \
	%reldir%/timed-wait.h \
	%reldir%/timestamp.c \
	%reldir%/timestamp.h \
	%reldir%/wire.h
libcommon_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBCRYPTO_CFLAGS)
libcommon_la_LIBADD = $(JANSSON_LIBS) $(LIBCRYPTO_LIBS)

common: libcommon.la
.PHONY: common
