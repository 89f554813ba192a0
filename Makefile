# Ouro's build. `make help` lists what can be made. Sources are found by wildcard and header dependencies by -MMD, so a new file
# edits no list. FLAVOR chooses how objects are compiled; each flavor has its own folder under build/.

FLAVOR ?= release
CC ?= cc
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
ENGINE ?= auto

O := build/$(FLAVOR)
SERVER := $(if $(filter release,$(FLAVOR)),build/ouro-server,$(O)/ouro-server)

# Rooms in floor order: a test of a room links with that room and the ones before it.
ROOMS := base ds resp ring types keyspace exec commands net observe server

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wundef -Werror
CFLAGS_release := -O3 -DNDEBUG -flto=auto -fno-semantic-interposition
CFLAGS_debug := -O1 -DOURO_DEBUG
CFLAGS_asan := -O1 -DOURO_DEBUG -DOURO_LIBC_MALLOC -fsanitize=address,undefined \
               -fno-sanitize-recover=all
CFLAGS_hostile := $(CFLAGS_asan) -DOURO_HOSTILE
CFLAGS_cover := -O0 -DOURO_DEBUG --coverage
LDFLAGS_release := -flto=auto -O3
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_hostile := $(LDFLAGS_asan)
LDFLAGS_cover := --coverage

# clang spells plain LTO differently and needs its own archiver.
IS_CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null | head -1))
ifneq ($(IS_CLANG),)
CFLAGS_release := $(subst -flto=auto,-flto,$(CFLAGS_release))
LDFLAGS_release := -flto -fuse-ld=lld -O3
AR := $(firstword $(shell command -v llvm-ar llvm-ar-14) llvm-ar)
else
AR := gcc-ar
endif

PACKAGES := $(if $(findstring OURO_LIBC_MALLOC,$(CFLAGS_$(FLAVOR))),,jemalloc) libxxhash liburing
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm -lpthread

ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE -g -fno-omit-frame-pointer -fno-strict-aliasing $(WARNINGS) \
              -Isrc -I. $(PACKAGE_CFLAGS) $(CFLAGS_$(FLAVOR)) $(CFLAGS)
ALL_LDFLAGS := -rdynamic $(LDFLAGS_$(FLAVOR)) $(LDFLAGS)

room_sources = $(sort $(shell find src/$(1) -name '*.c' 2>/dev/null))
room_objects = $(patsubst %.c,$(O)/%.o,$(filter-out src/server/main.c,$(call room_sources,$(1))))
ROOM_LIBS := $(foreach room,$(ROOMS),$(O)/lib/$(room).a)

UNIT_SOURCES := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c) \
                $(wildcard tests/model/*.c tests/sim/*.c))
UNIT_BINARIES := $(patsubst %.c,$(O)/%,$(UNIT_SOURCES))
BENCH_BINARIES := $(patsubst tools/bench/%.c,build/bench/%,$(wildcard tools/bench/*.c))

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

all: deps-build $(SERVER) ## build the server (release, LTO): build/ouro-server

$(SERVER): $(O)/src/server/main.o $(ROOM_LIBS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group \
	    $(PACKAGE_LIBS)

# Each room is one archive; an archive is made anew so that a deleted file leaves no ghost.
define room_rules
$(O)/lib/$(1).a: $(call room_objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(AR) rcs $$@ $$^
-include $(patsubst %.o,%.d,$(call room_objects,$(1)))
endef
$(foreach room,$(ROOMS),$(eval $(call room_rules,$(room))))

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# A test links with the archives it pulls symbols from.
$(O)/tests/%: $(O)/tests/%.o $(O)/tests/unit/test.o $(ROOM_LIBS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(O)/tests/unit/test.o \
	    -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(PACKAGE_LIBS)
-include $(patsubst %,%.d,$(UNIT_BINARIES))

unit-binaries: $(UNIT_BINARIES)

unit: unit-binaries ## run the unit and model tests of this FLAVOR
	@for test in $(UNIT_BINARIES); do $$test || { echo "failed: $$test"; exit 1; }; done

.PHONY: all unit unit-binaries deps-build
deps-build:
	@true

clean: ## remove build/
	rm -rf build
.PHONY: clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
.PHONY: help
