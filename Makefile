# SPDX-License-Identifier: LGPL-2.1-or-later
# The two commands of the README, and what they are made of. Everything real is in meson.build.
#
#   make            build into build/
#   sudo make demo  see it work, in network namespaces of its own
#   sudo make check everything that is tested; what CI runs
#   sudo make install, uninstall
#   make fuzz       1 000 000 inputs per parser (RUNS=… for another number)
#   sudo make bench the figures of docs/performance.md

BUILD := build
SANITIZED := build-asan
FUZZ := build-fuzz
RUNS ?= 1000000
MESON_FLAGS ?=

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/install-packages
	@meson setup $(BUILD) $(MESON_FLAGS) >/dev/null

deps:
	@tools/install-packages

clean:
	rm -rf $(BUILD) $(SANITIZED) $(FUZZ)

check: all
	@$(BUILD)/tests/test-oracle
	@$(BUILD)/tests/test-noleak

.PHONY: all deps clean check
