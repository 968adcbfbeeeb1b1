# SPDX-License-Identifier: Apache-2.0
# Man pages are written in POD; tests/style/man-pages compares them with
# what the programs say in --help.
man_pods = \
	%reldir%/man/livemount-backup.pod \
	%reldir%/man/livemount-key.pod \
	%reldir%/man/livemount-mount.pod \
	%reldir%/man/livemount-repository.pod \
	%reldir%/man/livemount-retention.pod \
	%reldir%/man/livemount.pod \
	%reldir%/man/nbdkit-livemount-plugin.pod

man_MANS += \
	%reldir%/man/livemount-backup.1 \
	%reldir%/man/livemount-key.1 \
	%reldir%/man/livemount-mount.1 \
	%reldir%/man/livemount-repository.5 \
	%reldir%/man/livemount-retention.1 \
	%reldir%/man/livemount.1 \
	%reldir%/man/nbdkit-livemount-plugin.1

EXTRA_DIST += $(man_pods) \
	%reldir%/architecture.md \
	%reldir%/benchmarks.md \
	%reldir%/formats/native.md \
	%reldir%/gc.md \
	%reldir%/models/gc.pml \
	%reldir%/overlay.md \
	%reldir%/reliability.md \
	%reldir%/security.md
CLEANFILES += $(man_MANS)

POD2MAN_V = $(POD2MAN_V_@AM_V@)
POD2MAN_V_ = $(POD2MAN_V_@AM_DEFAULT_V@)
POD2MAN_V_0 = @echo "  POD2MAN " $@;

# pod2man prints errors into the page by default: fail instead.
run_pod2man = $(MKDIR_P) $(@D) && \
	$(POD2MAN) --utf8 --errors=die --section=$(subst .,,$(suffix $@)) \
	    --name=$$(basename $@ $(suffix $@) | tr a-z A-Z) \
	    --center='Livemount' --release='livemount $(VERSION)' $< $@.tmp && \
	mv $@.tmp $@

SUFFIXES += .pod .1 .5
.pod.1:
	$(POD2MAN_V)$(run_pod2man)
.pod.5:
	$(POD2MAN_V)$(run_pod2man)
