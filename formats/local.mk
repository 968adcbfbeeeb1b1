# formats/ includes common/ only.
noinst_LTLIBRARIES += libformats.la
libformats_la_SOURCES = \
	%reldir%/disk.c \
	%reldir%/disk.h \
	%reldir%/disk-file.c \
	%reldir%/disk-file.h \
	%reldir%/disk-nbd.c \
	%reldir%/disk-nbd.h \
	%reldir%/image-lock.c \
	%reldir%/image-lock.h \
	%reldir%/native/chunk-index.c \
	%reldir%/native/chunk-index.h \
	%reldir%/native/entry.c \
	%reldir%/native/entry.h \
	%reldir%/native/id-set.c \
	%reldir%/native/id-set.h \
	%reldir%/native/index-run-build.c \
	%reldir%/native/index-run-internal.h \
	%reldir%/native/index-run.c \
	%reldir%/native/index-run.h \
	%reldir%/native/keys.c \
	%reldir%/native/keys.h \
	%reldir%/native/native-wire.h \
	%reldir%/native/pack-read.c \
	%reldir%/native/pack-read.h \
	%reldir%/native/pack-write.c \
	%reldir%/native/pack-write.h \
	%reldir%/native/repository.h \
	%reldir%/native/seal.c \
	%reldir%/native/seal.h \
	%reldir%/native/segment.c \
	%reldir%/native/segment.h \
	%reldir%/nbd-client-internal.h \
	%reldir%/nbd-client.c \
	%reldir%/nbd-client.h \
	%reldir%/nbd-request.c \
	%reldir%/store.c \
	%reldir%/store.h \
	%reldir%/store/fd-cache.c \
	%reldir%/store/fd-cache.h \
	%reldir%/store/store-dir.c \
	%reldir%/store/store-dir.h \
	%reldir%/store/store-open.c \
	%reldir%/store/store-open.h
libformats_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) \
	$(LIBCRYPTO_CFLAGS) $(LIBZSTD_CFLAGS) $(LIBNBD_CFLAGS)
libformats_la_LIBADD = libcommon.la $(LIBCRYPTO_LIBS) $(LIBZSTD_LIBS) \
	$(LIBNBD_LIBS) -lm

formats: libformats.la
.PHONY: formats
