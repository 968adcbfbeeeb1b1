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
	%reldir%/native/checkpoint.c \
	%reldir%/native/checkpoint.h \
	%reldir%/native/chunk-index.c \
	%reldir%/native/chunk-index.h \
	%reldir%/native/client-state.c \
	%reldir%/native/client-state.h \
	%reldir%/native/credentials.c \
	%reldir%/native/entry.c \
	%reldir%/native/entry.h \
	%reldir%/native/id-set.c \
	%reldir%/native/id-set.h \
	%reldir%/native/index-run-build.c \
	%reldir%/native/index-run-internal.h \
	%reldir%/native/index-run.c \
	%reldir%/native/index-run.h \
	%reldir%/native/journal-change.c \
	%reldir%/native/journal-change.h \
	%reldir%/native/journal-state-json.c \
	%reldir%/native/journal-state.c \
	%reldir%/native/journal-state.h \
	%reldir%/native/journal.c \
	%reldir%/native/journal.h \
	%reldir%/native/key-slot.c \
	%reldir%/native/key-slot.h \
	%reldir%/native/key-slots.c \
	%reldir%/native/keys.c \
	%reldir%/native/keys.h \
	%reldir%/native/lease.c \
	%reldir%/native/lease.h \
	%reldir%/native/native-wire.h \
	%reldir%/native/object-io.c \
	%reldir%/native/object-io.h \
	%reldir%/native/pack-read.c \
	%reldir%/native/pack-read.h \
	%reldir%/native/pack-write.c \
	%reldir%/native/pack-write.h \
	%reldir%/native/pin.c \
	%reldir%/native/pin.h \
	%reldir%/native/repo-config.c \
	%reldir%/native/repo-config.h \
	%reldir%/native/repository-init.c \
	%reldir%/native/repository-internal.h \
	%reldir%/native/repository.c \
	%reldir%/native/repository.h \
	%reldir%/native/resolve.c \
	%reldir%/native/seal.c \
	%reldir%/native/seal.h \
	%reldir%/native/segment.c \
	%reldir%/native/segment.h \
	%reldir%/native/snapshot-check.c \
	%reldir%/native/snapshot-wire.c \
	%reldir%/native/snapshot-wire.h \
	%reldir%/native/snapshot.c \
	%reldir%/native/whoami.c \
	%reldir%/native/whoami.h \
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
