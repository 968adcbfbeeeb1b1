# formats/ includes common/ only.
noinst_LTLIBRARIES += libformats.la
libformats_la_SOURCES = \
	%reldir%/disk.c \
	%reldir%/disk.h \
	%reldir%/disk-file.c \
	%reldir%/disk-file.h \
	%reldir%/image-lock.c \
	%reldir%/image-lock.h \
	%reldir%/native/keys.c \
	%reldir%/native/keys.h \
	%reldir%/native/native-wire.h \
	%reldir%/native/repository.h \
	%reldir%/native/seal.c \
	%reldir%/native/seal.h \
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
	$(LIBNBD_LIBS)

formats: libformats.la
.PHONY: formats
