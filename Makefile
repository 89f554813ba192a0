# Ouro's build. `make help` lists what can be made. Sources are found by wildcard and header
# dependencies by -MMD, so a new file edits no list. FLAVOR chooses how objects are compiled; each
# flavor has its own folder under build/.
#
# The goals meant for people (those with a ## comment) first see to missing packages and then call
# make again, in parallel, because pkg-config can only answer once the packages are there.

FLAVOR ?= release
CC ?= cc
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
ENGINE ?= auto
ONLY ?=

O ?= build/$(FLAVOR)
PROGRAMS := $(if $(filter build/release,$(O)),build,$(O))
SERVER := $(PROGRAMS)/ouro-server
CHECK_RDB := $(PROGRAMS)/ouro-check-rdb

# Rooms in floor order: a test of a room links with that room and the ones before it.
ROOMS := $(foreach room,base ds resp ring types keyspace exec commands net persist pubsub script \
             observe repl cluster server,$(if $(wildcard src/$(room)),$(room)))

JOBS := $(shell nproc 2>/dev/null || echo 2)
# Expanded in recipes, where MAKEFLAGS shows whether the caller chose a -j of his own.
MAKE_ALL = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
Q := $(if $(V),,@)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wundef -Werror
SANITIZE := -fsanitize=address,undefined
CFLAGS_release := -O3 -DNDEBUG -flto=auto -fno-semantic-interposition
CFLAGS_debug := -O1 -fno-omit-frame-pointer -DOURO_DEBUG
CFLAGS_asan := -O1 -fno-omit-frame-pointer -DOURO_DEBUG -DOURO_LIBC_MALLOC $(SANITIZE) -fno-sanitize-recover=all
CFLAGS_hostile := $(CFLAGS_asan) -DOURO_HOSTILE
CFLAGS_fuzz := $(CFLAGS_asan) -fsanitize=fuzzer-no-link
CFLAGS_cover := -O0 -DOURO_DEBUG --coverage -fprofile-update=atomic
LDFLAGS_release := -flto=auto -O3
LDFLAGS_asan := $(SANITIZE)
LDFLAGS_hostile := $(SANITIZE)
LDFLAGS_fuzz := $(SANITIZE)
LDFLAGS_cover := --coverage

# clang spells plain LTO differently and needs its own archiver.
IS_CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null | head -1))
ifneq ($(IS_CLANG),)
CFLAGS_release := $(subst -flto=auto,-flto,$(CFLAGS_release))
LDFLAGS_release := -flto -fuse-ld=lld -O3
AR := $(firstword $(shell command -v llvm-ar-14 llvm-ar) llvm-ar)
else
AR := gcc-ar
endif

LIBC_MALLOC := $(findstring OURO_LIBC_MALLOC,$(CFLAGS_$(FLAVOR)))
PACKAGES := $(if $(LIBC_MALLOC),,jemalloc) libxxhash liburing liblzf lua5.1 lua5.1-bitop libcrypto
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm -lpthread

ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE -g -fno-plt -fno-strict-aliasing $(WARNINGS) \
              -Isrc -I. $(PACKAGE_CFLAGS) $(CFLAGS_$(FLAVOR)) $(CFLAGS)
ALL_LDFLAGS := -rdynamic $(LDFLAGS_$(FLAVOR)) $(LDFLAGS)

room_sources = $(sort $(shell find src/$(1) -name '*.c' 2>/dev/null))
room_objects = $(patsubst %.c,$(O)/%.o,$(filter-out src/server/main.c,$(call room_sources,$(1))))
ROOM_LIBS := $(foreach room,$(ROOMS),$(O)/lib/$(room).a)
LINK_ROOMS := -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(PACKAGE_LIBS)

C_SOURCES := $(sort $(shell find src -name '*.c' 2>/dev/null))
C_HEADERS := $(sort $(shell find src -name '*.h' 2>/dev/null))
FORMATTED := $(C_SOURCES) $(C_HEADERS) \
             $(sort $(shell find tests tools -name node_modules -prune -o -name '*.[ch]' -print))

UNIT_SOURCES := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c) \
                $(wildcard tests/model/*.c tests/sim/*.c))
UNIT_BINARIES := $(patsubst %.c,$(O)/%,$(UNIT_SOURCES))
UNIT_CHOSEN := $(foreach test,$(UNIT_BINARIES),$(if $(findstring $(ONLY),$(test)),$(test)))
FUZZ_BINARIES := $(patsubst %.c,$(O)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
BENCH_BINARIES := $(patsubst tools/bench/%.c,build/bench/%,$(wildcard tools/bench/*.c))

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all run server debug asan hostile unit-binaries fuzz-binaries objects unit test check \
        format check-format layers tidy globals lint lint-all compilers compilers-clang fuzz \
        bench bench-memory bench-fanout bench-pause bench-turns bench-scripts bench-replication bench-binaries compat \
        clients cover compdb docs install uninstall clean help deps-build deps-test deps-check deps-bench FORCE

# ------------------------------------------------------------------------------------ build

all: deps-build ## build the server (release, LTO) and its tools: build/ouro-server, build/ouro-check-rdb
	+@$(MAKE_ALL) FLAVOR=$(FLAVOR) server

run: all ## build and run the server; ARGS="--port 7000 ..." are its arguments
	@exec $(SERVER) $(ARGS)

debug asan hostile: deps-build ## build server and tests of that flavor in build/<flavor>/
	+@$(MAKE_ALL) FLAVOR=$@ server unit-binaries

server: $(SERVER) $(CHECK_RDB)
unit-binaries: $(UNIT_BINARIES)
fuzz-binaries: $(FUZZ_BINARIES)
bench-binaries: $(BENCH_BINARIES)
objects: $(ROOM_LIBS)

$(SERVER): $(O)/src/server/main.o $(ROOM_LIBS)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(LINK_ROOMS)

$(CHECK_RDB): $(O)/tools/ouro_check_rdb.o $(ROOM_LIBS)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(LINK_ROOMS)
-include $(O)/tools/ouro_check_rdb.d

# Each room is one archive; an archive is made anew so that a deleted file leaves no ghost. It is
# remade when the list of its objects changes, not only when one of them does.
define room_rules
$(O)/lib/$(1).a: $(call room_objects,$(1)) $(O)/lib/$(1).list
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$(filter %.o,$$^)
$(O)/lib/$(1).list: FORCE
	$$(call write_if_new,$(call room_objects,$(1)))
-include $(patsubst %.o,%.d,$(call room_objects,$(1)))
endef

# Leaves the file alone when it holds that already, so that what depends on it stays up to date.
write_if_new = @mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
               printf '%s\n' '$(subst ','\'',$(1))' >$@

$(foreach room,$(ROOMS),$(eval $(call room_rules,$(room))))

# Objects made with another compiler or other flags are made again.
$(O)/flags: FORCE
	$(call write_if_new,$(CC) $(ALL_CFLAGS))

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(FILE_CFLAGS) -MMD -MP -c -o $@ $<

# A fuzzer is a program that feeds itself, but where libFuzzer does it.
$(O)/tests/fuzz/%.o: FILE_CFLAGS := $(if $(filter fuzz,$(FLAVOR)),,-DFUZZ_STANDALONE)
$(O)/tests/fuzz/%: $(O)/tests/fuzz/%.o $(ROOM_LIBS)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(if $(filter fuzz,$(FLAVOR)),-fsanitize=fuzzer) \
	    -o $@ $< $(LINK_ROOMS)

# A unit test of a room links with that room and those before it: a broken room breaks no lower one.
LIBS_SO_FAR :=
define unit_rules
LIBS_SO_FAR += $(O)/lib/$(1).a
$(O)/tests/unit/$(1)/%: $(O)/tests/unit/$(1)/%.o $(O)/tests/unit/test.o $$(LIBS_SO_FAR)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$< $(O)/tests/unit/test.o \
	    -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(PACKAGE_LIBS)
endef
$(foreach room,$(ROOMS),$(eval $(call unit_rules,$(room))))

# Models and simulations may use every room.
$(O)/tests/%: $(O)/tests/%.o $(O)/tests/unit/test.o $(ROOM_LIBS)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(O)/tests/unit/test.o $(LINK_ROOMS)
-include $(patsubst %,%.d,$(UNIT_BINARIES) $(FUZZ_BINARIES) $(O)/tests/unit/test) \
         $(O)/src/server/main.d

build/bench/%: $(O)/tools/bench/%.o $(ROOM_LIBS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(LINK_ROOMS)
-include $(patsubst %.c,$(O)/%.d,$(wildcard tools/bench/*.c))

# ------------------------------------------------------------------------------------ tests

test: deps-check ## all checks and tests; ONLY=integration/strings ENGINE=epoll choose some
	@$(PYTHON) tests/run.py $(if $(ONLY),--only "$(ONLY)") --engine $(ENGINE)

check: deps-check ## format, layers, tidy, lint, both compilers, unit tests under asan and ubsan
	@$(PYTHON) tests/run.py --only "check/,unit/,model/,sim/"

unit: deps-build ## the unit and model tests of one FLAVOR; ONLY=ds/ chooses some
	+@$(MAKE_ALL) FLAVOR=$(FLAVOR) $(UNIT_CHOSEN)
	@for test in $(UNIT_CHOSEN); do $$test || { echo "failed: $$test"; exit 1; }; done

COUNT ?= 1000000
compat: deps-test all ## COUNT random commands against redis-server, and the table of bad inputs
	OURO_BINARY=$(abspath $(SERVER)) $(PYTHON) tests/compat/differential.py --count $(COUNT)
	OURO_BINARY=$(abspath $(SERVER)) $(PYTHON) tests/compat/events.py --count $(COUNT)
	OURO_BINARY=$(abspath $(SERVER)) $(PYTHON) tests/compat/crowd.py --count $(COUNT)
	OURO_BINARY=$(abspath $(SERVER)) $(PYTHON) tests/compat/badinputs.py

CLIENTS := tests/clients/node_modules/.package-lock.json
clients: $(CLIENTS)
$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && npm ci --no-audit --no-fund </dev/null
	@touch $@

SECONDS_EACH ?= 60
fuzz: deps-check ## every fuzzer under libFuzzer, SECONDS_EACH seconds; corpora in build/fuzz/corpus
	+@$(MAKE_ALL) FLAVOR=fuzz CC=clang-14 fuzz-binaries
	@for fuzzer in $(notdir $(FUZZ_BINARIES)); do \
	    mkdir -p build/fuzz/corpus/$$fuzzer; \
	    seeds=; if [ $$fuzzer = fuzz_rdb ]; then seeds=tests/rdb; fi; \
	    build/fuzz/tests/fuzz/$$fuzzer -max_total_time=$(SECONDS_EACH) -timeout=10 \
	        -artifact_prefix=build/fuzz/ build/fuzz/corpus/$$fuzzer $$seeds || exit 1; \
	done

cover: deps-test ## line coverage of the whole test suite: build/cover/report.txt
	+@$(MAKE_ALL) FLAVOR=cover server unit-binaries
	@find build/cover -name '*.gcda' -delete
	-$(PYTHON) tests/run.py --flavor cover --only "unit/,model/,sim/,integration/,compat/"
	@$(PYTHON) tools/coverage.py build/cover >build/cover/report.txt; tail -n 1 build/cover/report.txt

# ----------------------------------------------------------------------------------- checks

check-format: ## does the C code look as clang-format would have it?
	@clang-format-14 --dry-run --Werror $(FORMATTED)

format: ## make the C code look so
	@clang-format-14 -i $(FORMATTED)

layers: ## do includes point only downwards, as the architecture says?
	@$(PYTHON) tools/check_layers.py

tidy: ## sizes, essays, wording: the rules of style that a script can check
	@$(PYTHON) tools/check_tidy.py

globals: ## is there no mutable global?
	+@$(MAKE_ALL) FLAVOR=debug objects
	@$(PYTHON) tools/check_globals.py $(patsubst %,build/debug/lib/%.a,$(ROOMS))

# One stamp per file, so that a second run looks only at what changed.
LINTED := $(patsubst %.c,build/lint/%.ok,$(C_SOURCES))
lint: deps-check ## clang-tidy
	+@$(MAKE_ALL) -k FLAVOR=debug CC=clang-14 lint-all
lint-all: $(LINTED)
build/lint/%.ok: %.c $(C_HEADERS) .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy-14 --quiet $< -- $(filter-out -Werror,$(ALL_CFLAGS)) >$@.out 2>&1 || \
	    { grep -v 'warnings generated' $@.out; exit 1; }
	@touch $@

compilers: deps-check ## does everything build without a warning with gcc and with clang?
	+@$(MAKE_ALL) server
	+@$(MAKE_ALL) compilers-clang
compilers-clang:
	+@$(MAKE_ALL) CC=clang-14 O=build/clang server
	+@$(MAKE_ALL) CC=clang-14 O=build/clang-debug FLAVOR=debug unit-binaries

# ------------------------------------------------------------------------------- everything

bench: deps-bench all ## speed against the floor and other servers: docs/benchmarks.md
	+@$(MAKE_ALL) bench-binaries
	$(PYTHON) tools/bench/bench.py

bench-memory: deps-bench all ## bytes per item
	$(PYTHON) tools/bench/memory.py

bench-fanout: deps-bench all ## what a message to a thousand subscribers costs
	+@$(MAKE_ALL) bench-binaries
	$(PYTHON) tools/bench/fanout.py

bench-pause: deps-bench all ## the longest pause while something big happens
	+@$(MAKE_ALL) bench-binaries
	$(PYTHON) tools/bench/pause.py

bench-turns: deps-bench all ## the longest turn of the loop during each long command
	$(PYTHON) tools/bench/turns.py

bench-scripts: deps-bench all clients ## what a script costs
	$(PYTHON) tools/bench/scripts.py

bench-replication: deps-bench all ## what a replica costs its primary
	+@$(MAKE_ALL) bench-binaries
	$(PYTHON) tools/bench/replication.py

compdb: ## compile_commands.json for editors
	@$(MAKE) -s --no-print-directory -nB FLAVOR=debug V=1 server unit-binaries | \
	    $(PYTHON) tools/compdb.py >compile_commands.json

docs: all ## docs/commands.md, from the rows of the commands themselves
	$(PYTHON) tools/commands_doc.py $(SERVER) >docs/commands.md

install: all ## install server, tools and man pages under DESTDIR/PREFIX
	install -D -m 755 $(SERVER) $(DESTDIR)$(PREFIX)/bin/ouro-server
	install -D -m 755 $(CHECK_RDB) $(DESTDIR)$(PREFIX)/bin/ouro-check-rdb
	install -D -m 644 docs/ouro-check-rdb.1 $(DESTDIR)$(PREFIX)/share/man/man1/ouro-check-rdb.1
	install -D -m 644 docs/ouro-server.1 $(DESTDIR)$(PREFIX)/share/man/man1/ouro-server.1

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/ouro-server $(DESTDIR)$(PREFIX)/share/man/man1/ouro-server.1
	rm -f $(DESTDIR)$(PREFIX)/bin/ouro-check-rdb \
	    $(DESTDIR)$(PREFIX)/share/man/man1/ouro-check-rdb.1

clean: ## remove build/ and the installed client libraries
	rm -rf build tests/clients/node_modules compile_commands.json

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z -]*:.*## /{printf "  make %-20s %s\n", $$1, $$2}' Makefile

# Missing packages are named, then installed through apt.
deps-build:
	@tools/ensure_packages.sh build
deps-test:
	@tools/ensure_packages.sh build test
deps-check:
	@tools/ensure_packages.sh build test lint
deps-bench:
	@tools/ensure_packages.sh build bench
