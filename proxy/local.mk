# SPDX-License-Identifier: Apache-2.0
# proxy/ includes formats/ and common/.  Everything but plugin.c and
# report.c is in a library of its own, which tests link.
noinst_LTLIBRARIES += libproxy.la
libproxy_la_SOURCES = \
	%reldir%/bitmap.c \
	%reldir%/bitmap.h \
	%reldir%/cache.c \
	%reldir%/cache.h
libproxy_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBCRYPTO_CFLAGS)
libproxy_la_LIBADD = libformats.la $(LIBCRYPTO_LIBS)

proxy: libproxy.la
.PHONY: proxy
