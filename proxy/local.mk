# SPDX-License-Identifier: Apache-2.0
# proxy/ includes formats/ and common/.  Everything but plugin.c and
# plugin-report.c is in a library of its own, which tests link.  A module
# takes each of its libraries whole: libproxy.la has the others already.
noinst_LTLIBRARIES += libproxy.la
libproxy_la_SOURCES = \
	%reldir%/bitmap.c \
	%reldir%/bitmap.h \
	%reldir%/cache.c \
	%reldir%/cache.h \
	%reldir%/exports.c \
	%reldir%/exports.h \
	%reldir%/exports-internal.h \
	%reldir%/exports-setup.c \
	%reldir%/guard-disk.c \
	%reldir%/guard-disk.h \
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
	%reldir%/overlay-sync.c \
	%reldir%/proxy-config.c \
	%reldir%/proxy-config.h \
	%reldir%/readahead.c \
	%reldir%/readahead.h \
	%reldir%/unlock.c \
	%reldir%/unlock.h
libproxy_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBCRYPTO_CFLAGS)
libproxy_la_LIBADD = libformats.la $(LIBCRYPTO_LIBS)

plugin_LTLIBRARIES += nbdkit-livemount-plugin.la
nbdkit_livemount_plugin_la_SOURCES = \
	%reldir%/plugin.c \
	%reldir%/plugin-report.c \
	%reldir%/plugin-report.h
nbdkit_livemount_plugin_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBDKIT_CFLAGS) \
	$(JANSSON_CFLAGS)
nbdkit_livemount_plugin_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version \
	-shared -export-symbols-regex '^plugin_init$$'
nbdkit_livemount_plugin_la_LIBADD = libproxy.la

proxy: libproxy.la nbdkit-livemount-plugin.la
.PHONY: proxy
