# SPDX-License-Identifier: LGPL-2.1-or-later
# The two commands of the README, and what they are made of. Everything real is in meson.build.
#
#   make              build into build/
#   sudo make demo    see it work, in network namespaces of its own
#   sudo make check   everything that is tested; what CI runs
#   sudo make install, sudo make uninstall   (DESTDIR=…)
#   sudo make deps    the Debian packages that building and testing need
#   make fuzz         1 000 000 inputs per parser (RUNS=… for another number)
#   sudo make bench   the figures of docs/performance.md

BUILD := build
RELEASE := build-release
SANITIZED := build-asan
FUZZ := build-fuzz
RUNS ?= 1000000
MESON_FLAGS ?=
export DESTDIR

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@tools/install-packages
	@meson setup $(BUILD) $(MESON_FLAGS) >/dev/null

$(RELEASE)/build.ninja:
	@tools/install-packages
	@meson setup $(RELEASE) --buildtype=release $(MESON_FLAGS) >/dev/null

deps:
	@tools/install-packages

demo: all
	@WAYMARK_BUILD=$(BUILD)/src demo/demo

check: all
	@BUILD=$(BUILD) SANITIZED=$(SANITIZED) tools/check

install: all
	@meson install -C $(BUILD) --no-rebuild

uninstall:
	@tools/uninstall $(BUILD)

fuzz:
	@tools/install-packages
	@tools/fuzz $(RUNS)

bench: $(RELEASE)/build.ninja
	@ninja -C $(RELEASE) --quiet
	@bench/run $(RELEASE)

clean:
	rm -rf $(BUILD) $(RELEASE) $(SANITIZED) $(FUZZ)

.PHONY: all deps demo check install uninstall fuzz bench clean
