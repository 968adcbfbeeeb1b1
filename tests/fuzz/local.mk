# SPDX-License-Identifier: Apache-2.0
# Fuzz targets, see fuzz.h.  `make check` replays the corpus with whatever
# compiler there is, and runs libFuzzer for a moment when there is clang;
# `make fuzz FUZZ_SECONDS=60 FUZZ_TARGETS="segment pack"` does it for real.
fuzz_sources = \
	%reldir%/fuzz-glue.c \
	%reldir%/fuzz-images.c \
	%reldir%/fuzz-json.c \
	%reldir%/fuzz-keys.c \
	%reldir%/fuzz-objects.c \
	%reldir%/fuzz-overlay.c \
	%reldir%/fuzz-tables.c \
	%reldir%/fuzz-text.c \
	%reldir%/fuzz.c \
	%reldir%/fuzz.h

check_PROGRAMS += %reldir%/replay
tests_fuzz_replay_SOURCES = $(fuzz_sources) %reldir%/replay-main.c
tests_fuzz_replay_LDADD = libsupport.la libproxy.la libglue.la libformats.la libcommon.la

fuzz_tests = %reldir%/replay-corpus
EXTRA_DIST += %reldir%/libfuzzer-main.c %reldir%/words.dict

# The same and everything below it again, by clang and for libFuzzer.
# (Objects of their own, so that the other compiler's stay as they are.)
if HAVE_FUZZING
if !SANITIZERS
fuzz_tests += %reldir%/run
FUZZ_CFLAGS = -std=gnu11 -g -O1 -pthread -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
fuzz_objects = $(patsubst %.c,fuzz-objects/%.o,$(filter %.c, \
	$(fuzz_sources) %reldir%/libfuzzer-main.c \
	tests/support/scratch.c tests/support/store-memory.c \
	$(libcommon_la_SOURCES) $(libformats_la_SOURCES) \
	$(libglue_la_SOURCES) $(libproxy_la_SOURCES)))

fuzz-objects/%.o: %.c
	@$(MKDIR_P) $(@D)
	$(AM_V_CC)$(FUZZING_PROGRAM) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
	  $(JANSSON_CFLAGS) $(LIBCRYPTO_CFLAGS) $(LIBZSTD_CFLAGS) \
	  $(LIBNBD_CFLAGS) $(LIBXML2_CFLAGS) $(FUZZ_CFLAGS) -MMD -MP \
	  -c -o $@ $<

%reldir%/fuzzer$(EXEEXT): $(fuzz_objects)
	$(AM_V_CCLD)$(FUZZING_PROGRAM) $(FUZZ_CFLAGS) -fsanitize=fuzzer \
	  -o $@ $(fuzz_objects) $(JANSSON_LIBS) $(LIBCRYPTO_LIBS) \
	  $(LIBZSTD_LIBS) $(LIBNBD_LIBS) $(LIBXML2_LIBS) -lm

-include $(fuzz_objects:.o=.d)

check_DATA += %reldir%/fuzzer$(EXEEXT)

FUZZ_SECONDS = 10
fuzz: %reldir%/fuzzer$(EXEEXT)
	srcdir=$(srcdir) LM_FUZZ_SECONDS=$(FUZZ_SECONDS) \
	  LM_FUZZ_TARGETS="$(FUZZ_TARGETS)" $(srcdir)/%reldir%/run

clean-local:
	rm -rf fuzz-objects %reldir%/fuzzer$(EXEEXT)
endif
endif

.PHONY: fuzz
dist_check_SCRIPTS += %reldir%/replay-corpus %reldir%/run
TESTS += $(fuzz_tests)
