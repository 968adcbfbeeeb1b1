# tests/ may include anything.
#
# A Criterion program per module: tests/unit/test-<module>.c.  Its source
# follows from its name, and it links to everything; so a new one is one
# line here.
AM_LDADD_TESTS = libformats.la libcommon.la $(CRITERION_LIBS)
LDADD = $(AM_LDADD_TESTS)

if HAVE_CRITERION
criterion_tests = \
	tests/unit/test-process \
	tests/unit/test-seal \
	tests/unit/test-size

check_PROGRAMS += $(criterion_tests)
TESTS += $(criterion_tests)
endif
