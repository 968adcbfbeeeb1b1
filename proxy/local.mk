# SPDX-License-Identifier: Apache-2.0
# proxy/ includes formats/ and common/.  Everything but plugin.c and
# report.c is in a library of its own, which tests link.
noinst_LTLIBRARIES += libproxy.la
libproxy_la_SOURCES = \
	%reldir%/bitmap.c \
	%reldir%/bitmap.h \
	%reldir%/cache.c \
	%reldir%/cache.h \
	%reldir%/overlay.c \
	%reldir%/overlay.h \
	%reldir%/overlay-crypt.c \
	%reldir%/overlay-crypt.h \
	%reldir%/overlay-discard.c \
	%reldir%/overlay-disk.c \
	%reldir%/overlay-disk.h \
	%reldir%/overlay-header.c \
	%reldir%/overlay-header.h \
	%reldir%/overlay-layer.c \
	%reldir%/overlay-layer.h \
	%reldir%/overlay-layer-internal.h \
	%reldir%/overlay-sync.c
libproxy_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBCRYPTO_CFLAGS)
libproxy_la_LIBADD = libformats.la $(LIBCRYPTO_LIBS)

proxy: libproxy.la
.PHONY: proxy
