# denoised: `make run` installs what is missing, builds and serves; `make test` installs, builds, tests.
#
#   make                 build/denoised, on all processors (-j1: on one)
#   make help            this list
#   make run             ... and serve on localhost:8080      (ARGS="--listen ..." for more)
#   make test            every test that belongs to each change (PYTEST_ARGS="-k ..." for a part)
#   make test-unit       the C tests alone
#   make test-python     the Python tests alone
#   make test-fuzz-corpus   the fuzz targets on their corpora
#   make test-cross      the part of the tests that runs on other processors, emulated
#   make test-faults     every call of the daemon fails once, in turn (5 minutes)
#   make test-drain      daemons stopped and replaced under load, 100 times each (5 minutes)
#   make test-random     10,000 random requests    (REQUESTS= SEED=)
#   make test-race       a mixed load, for SAN=thread  (SECONDS=60)
#   make test-container  the Dockerfile's image, built and run without Docker (root, 3 to 5 minutes)
#   make test-fresh      make run and make test in fresh Debian systems (root, an hour; RELEASES= USERS= KEEP=)
#   make fuzz            coverage-guided fuzzing (FUZZ_SECONDS=60 a target)
#   make lint            formatting, static analysis, include directions
#   make overload        three times as many requests as can be served (2 minutes)
#   make isolation       what one client costs another, in attacks (ARGS="--help")
#   make soak            mixed load with a model reload every minute (MINUTES=30)
#   make bench-auto      is `auto` the fastest profile of this machine? (half a minute)
#   make bench           the comparison with PyTorch, ONNX Runtime and oneDNN (ARGS="--help")
#   make bench-load      throughput and latency of a daemon of its own (ARGS="--help")
#   make train           the models' origin (ARGS="--help")
#   make train-fast      the fast model's
#   make evaluate        the models' figures (ARGS="--help")
#   make evaluate-samplers   every sampler at several numbers of steps
#   make evaluate-history    the figures over the training
#   make golden          golden values from PyTorch for the tests
#   make install         DESTDIR= PREFIX=/usr/local
#   make uninstall       takes it away again
#   make clean           removes the build folders
#   SAN=address,undefined | SAN=thread   builds and tests with sanitizers, in build-SAN/
#   CC=clang             any C17 compiler
#   V=1                  show commands

SHELL := /bin/bash
MAKEFLAGS += -rR
# All processors, unless the command line says -j; a make started by another one is told by that.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VERSION := 0.1.0
PREFIX ?= /usr/local
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
PYTHON ?= /usr/bin/python3
Q := $(if $(V),,@)

comma := ,
BUILD := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
ARCH ?= $(shell uname -m)
REVISION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

PACKAGES := gcc libc6-dev pkg-config python3-yaml libmicrohttpd-dev libcjson-dev libpng-dev \
            libopenblas-dev libuv1-dev nettle-dev
PKG_CONFIG_NAMES := libmicrohttpd libcjson libpng zlib openblas libuv nettle
LINT_PACKAGES := clang-format clang-tidy clang
TEST_PACKAGES := libcmocka-dev python3-pytest python3-requests python3-numpy python3-pil \
                 python3-jsonschema python3-tqdm python3-matplotlib python3-torch \
                 curl chromium openssl systemd libpcre2-8-0 git libimage-exiftool-perl wrk \
                 $(LINT_PACKAGES)
TRAIN_PACKAGES := python3-torch python3-numpy python3-matplotlib python3-tqdm python3-pil
BENCH_PACKAGES := python3-torch python3-numpy python3-matplotlib python3-tqdm libdnnl-dev
CONTAINER_PACKAGES := debootstrap buildah podman runc qemu-user python3-pytest python3-requests
CROSS_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

PKG_CFLAGS = $(shell pkg-config --cflags $(PKG_CONFIG_NAMES))
PKG_LIBS = $(shell pkg-config --libs $(PKG_CONFIG_NAMES))

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wstrict-prototypes -Wformat=2 \
            -Wimplicit-fallthrough -Werror
OPT ?= -O2 -g
# No contraction: a*b+c means two roundings everywhere, and fma() one, so that results do not depend
# on the instruction set a file was compiled for. No trapping math: nobody reads the exception flags,
# and a loop with a choice in it can be vectorised; it changes no result.
CFLAGS_ALL = -std=c17 -D_GNU_SOURCE $(OPT) $(WARNINGS) -ffp-contract=off -fno-math-errno \
             -fno-trapping-math -I. $(PKG_CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer \
             -fno-sanitize-recover=all) $(CFLAGS)
LDFLAGS_ALL = $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# ---- sources ----------------------------------------------------------------------------------

X86_SRC := $(wildcard core/kernels/amx*.c core/kernels/avx512_bf16*.c)
CORE_SRC := $(filter-out $(if $(filter x86_64,$(ARCH)),,$(X86_SRC)),$(wildcard core/*.c core/*/*.c))
API_SRC := $(wildcard api/*.c)
SERVER_SRC := $(wildcard server/*.c server/*/*.c)
TEST_SRC := $(wildcard tests/unit/test_*.c tests/golden/test_*.c)
TEST_LIB_SRC := $(wildcard tests/lib/*.c)

# The sources in kernels/vector/ are compiled once for each instruction set; NEON needs no flags.
# -Wno-psabi: a vector wider than the registers is passed to inlined functions only, so its ABI is
# nobody's. -fno-trapping-math: nobody looks at the exception flags, and as long as gcc keeps them
# exact it vectorises no conditional.
VECTOR_ISAS_x86_64 := baseline avx2 avx512
VECTOR_ISAS_aarch64 := neon
VECTOR_SRC := $(wildcard core/kernels/vector/*.c)
VECTOR_ISAS := $(or $(VECTOR_ISAS_$(ARCH)),baseline)
MFLAGS_avx2 := -mavx2 -mfma
MFLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512

VECTOR_OBJ := $(foreach isa,$(VECTOR_ISAS),$(VECTOR_SRC:%.c=$(BUILD)/%_$(isa).o))
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o) $(VECTOR_OBJ)
API_OBJ := $(API_SRC:%.c=$(BUILD)/%.o)
SERVER_OBJ := $(SERVER_SRC:%.c=$(BUILD)/%.o) $(BUILD)/gen/web_assets.o
TEST_BIN := $(TEST_SRC:%.c=$(BUILD)/%)
TEST_LIB_OBJ := $(TEST_LIB_SRC:%.c=$(BUILD)/%.o)
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY_BIN := $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/replay_%)

LIBS_ALL = $(PKG_LIBS) -lm -lpthread

all: $(BUILD)/denoised

help:
	@sed -n 's/^#   //p; /^$$/q' Makefile

$(BUILD)/libdenoise.a: $(CORE_OBJ)
$(BUILD)/libapi.a: $(API_OBJ)
$(BUILD)/libserver.a: $(filter-out %/main.o,$(SERVER_OBJ))
$(BUILD)/%.a:
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/denoised: $(SERVER_OBJ) $(BUILD)/libapi.a $(BUILD)/libdenoise.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_ALL)

define vector_rule
$(BUILD)/core/kernels/vector/%_$(1).o: core/kernels/vector/%.c $(BUILD)/.flags | deps
	@echo "  CC    $$< ($(1))"
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) -O3 -fno-trapping-math -Wno-psabi $$(MFLAGS_$(1)) -DVECTOR_ISA=$(1) \
	    -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(VECTOR_ISAS),$(eval $(call vector_rule,$(isa))))

$(BUILD)/core/kernels/amx.o $(BUILD)/core/kernels/amx_attention.o: CFLAGS_ALL += -O3 $(MFLAGS_avx512) -mavx512bf16 -mamx-tile -mamx-bf16 -DVECTOR_ISA=avx512
$(BUILD)/core/kernels/avx512_bf16.o $(BUILD)/core/kernels/avx512_bf16_norm.o: CFLAGS_ALL += -O3 $(MFLAGS_avx512) -mavx512bf16 -DVECTOR_ISA=avx512
$(BUILD)/%.o: %.c $(BUILD)/.flags | deps
	@echo "  CC    $<"
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/server/%.o: CFLAGS_ALL += -DDENOISED_VERSION='"$(VERSION)"' -DDENOISED_REVISION='"$(REVISION)"' \
                                   -DDENOISED_DATADIR='"$(PREFIX)/share/denoised"'

# openapi.yaml is the contract; the daemon serves it as JSON at /openapi.json, embedded.
$(BUILD)/openapi.json: openapi.yaml tools/openapi_json.py | deps
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/openapi_json.py openapi.yaml $@
$(BUILD)/gen/openapi_json.h: $(BUILD)/openapi.json
	@mkdir -p $(@D)
	$(Q)(echo 'static const char openapi_json[] = {'; \
	     od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; echo '0x00};') > $@
$(SERVER_OBJ): CFLAGS_ALL += -I$(BUILD)/gen
$(SERVER_OBJ): | $(BUILD)/gen/openapi_json.h

# The pages are in the program too, and so is the API reference's renderer.
RENDERER := web/vendor/swagger-ui
WEB_FILES := $(wildcard web/*.html web/*.css web/*.js web/*.svg $(RENDERER)/*.gz)
$(BUILD)/gen/web_assets.c: tools/embed.py $(WEB_FILES) | deps
	@mkdir -p $(@D)
	$(Q)$(PYTHON) $< $@ $(WEB_FILES)
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/.flags
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
# A change of compiler or flags rebuilds everything.
FLAGS_NOW = $(CC) $(OPT) $(SAN) $(CFLAGS) $(LDFLAGS) $(shell cksum < Makefile)
$(BUILD)/.flags: FORCE
	@mkdir -p $(BUILD); echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@

# What prints the revision is compiled again when there is a new one.
$(patsubst %.c,$(BUILD)/%.o,$(shell grep -sl DENOISED_REVISION $(SERVER_SRC))): $(BUILD)/.revision
$(BUILD)/.revision: FORCE
	@mkdir -p $(BUILD); echo '$(REVISION)' | cmp -s - $@ || echo '$(REVISION)' > $@

# ---- what is missing gets installed -------------------------------------------------------------

NPM_PACKAGE = $$(command -v npm >/dev/null || echo npm)

deps:
	@tools/install-packages.sh $(PACKAGES)
test-deps:
	@tools/install-packages.sh $(PACKAGES) $(TEST_PACKAGES) $(NPM_PACKAGE)
train-deps:
	@tools/install-packages.sh $(TRAIN_PACKAGES) $(NPM_PACKAGE)
bench-deps:
	@tools/install-packages.sh $(BENCH_PACKAGES) $(NPM_PACKAGE)
fuzz-deps:
	@tools/install-packages.sh $(PACKAGES) clang libclang-rt-dev
cross-deps:
	@tools/install-packages.sh $(CROSS_PACKAGES) python3-pytest python3-numpy
container-deps:
	@tools/install-packages.sh $(CONTAINER_PACKAGES)
lint-deps:
	@tools/install-packages.sh $(LINT_PACKAGES)

# ---- run, test, lint ----------------------------------------------------------------------------

run: all
	$(BUILD)/denoised serve $(ARGS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIB_OBJ) $(BUILD)/libserver.a $(BUILD)/libapi.a \
                  $(BUILD)/libdenoise.a | test-deps
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcmocka $(LIBS_ALL)
# Their libraries are there before they are compiled, whatever was asked for.
$(TEST_SRC:%.c=$(BUILD)/%.o) $(TEST_LIB_OBJ): | test-deps
.SECONDARY:
.PRECIOUS: $(BUILD)/tests/%.o $(BUILD)/api/%.o

# Built at once, run one after the other: they wait for deadlines, and their output is to be read.
TEST_PARTS := test-unit test-fuzz-corpus test-python $(if $(SAN),,$(if $(filter x86_64,$(ARCH)),test-cross))
test: test-deps
	+$(Q)$(MAKE) --no-print-directory all $(TEST_BIN) $(REPLAY_BIN)
	+$(Q)set -e; for part in $(TEST_PARTS); do $(MAKE) --no-print-directory $$part; done

test-unit: $(TEST_BIN)
	$(Q)set -e; for t in $(TEST_BIN); do echo "  TEST  $$t"; $$t; done

# The corpora are replayed with the ordinary compiler by every `make test`.
FUZZ_LIBS := $(BUILD)/tests/fuzz/common.o $(BUILD)/libserver.a $(BUILD)/libapi.a $(BUILD)/libdenoise.a
$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(FUZZ_LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_ALL)

test-fuzz-corpus: $(REPLAY_BIN)
	$(Q)set -e; for n in $(FUZZ_NAMES); do \
	    $(BUILD)/tests/fuzz/replay_$$n tests/fuzz/corpus/$$n; done

# The same program for this processor and for AArch64, of what in core needs no library (see
# tests/cross/digests.h), run natively and by QEMU as other processors.
CROSS := $(BUILD)/cross/aarch64
CROSS_OBJ := $(filter-out $(BUILD)/core/model% $(BUILD)/core/kernels/openblas.o,$(CORE_OBJ)) \
             $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/cross/*.c))
$(BUILD)/tests/cross/digests: $(CROSS_OBJ)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lm

test-cross: $(BUILD)/denoised $(BUILD)/tests/cross/digests | cross-deps
	+$(Q)$(MAKE) --no-print-directory BUILD=$(CROSS) ARCH=aarch64 CC=aarch64-linux-gnu-gcc \
	    CFLAGS= LDFLAGS= PKG_CFLAGS= $(CROSS)/tests/cross/digests
	$(Q)DENOISED_BUILD=$(BUILD) $(PYTHON) -m pytest -q -p no:cacheprovider $(PYTEST_ARGS) tests/cross

# make fuzz FUZZ_SECONDS=600: coverage-guided, with clang's libFuzzer and sanitizers. What it finds
# is kept in the build folder's corpus; a crash is written to the working directory.
FUZZ_SECONDS ?= 60
fuzz: fuzz-deps
	+$(Q)$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined fuzz-run
fuzz-run: $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/fuzz_%)
	$(Q)set -e; for n in $(FUZZ_NAMES); do mkdir -p $(BUILD)/corpus/$$n; \
	    $(BUILD)/tests/fuzz/fuzz_$$n -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
	        -print_final_stats=1 -verbosity=0 $(BUILD)/corpus/$$n \
	        tests/fuzz/corpus/$$n; done
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS_ALL)

# Packages for tests: each folder's of its own, in the build folder.
TEST_MODULES := $(patsubst %,$(BUILD)/%/node_modules/.package-lock.json,browser openai openapi kubernetes)
$(TEST_MODULES): $(BUILD)/%/node_modules/.package-lock.json: tests/%/package-lock.json tools/npm-ci.sh | test-deps
	$(Q)tools/npm-ci.sh $(BUILD)/$* tests/$*

# What fails the calls of a daemon under test, or makes it wait. A sanitizer's runtime stays behind it.
PRELOADS := $(BUILD)/tests/fault/fail_nth.so $(BUILD)/tests/http/preload.so
$(PRELOADS): $(BUILD)/%.so: %.c $(BUILD)/.flags | test-deps
	@echo "  LINK  $@"
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fsanitize%,$(CFLAGS_ALL)) -shared -fPIC -o $@ $< -ldl

# What tests run or read and nobody should have to install, for Debian would start it; one that is
# installed is not used, so that tests are the same everywhere. Of Docker's compose only the schema is
# wanted. Debian 13 has it, and promtool, in other packages than Debian 12.
UNPACKED := $(patsubst %,$(BUILD)/%/.unpacked,nginx prometheus compose)
$(BUILD)/nginx/.unpacked: UNPACK := nginx
$(BUILD)/prometheus/.unpacked: UNPACK := prometheus promtool,prometheus
$(BUILD)/compose/.unpacked: UNPACK := golang-github-compose-spec-compose-go-dev,docker-compose
$(UNPACKED): $(BUILD)/%/.unpacked: tools/unpack-package.sh | test-deps
	@echo "  APT   $*"
	$(Q)tools/unpack-package.sh $(@D) $(UNPACK) && touch $@

test-python: $(BUILD)/denoised $(BUILD)/load $(PRELOADS) $(UNPACKED) \
             $(BUILD)/openapi.json $(TEST_MODULES)
	$(Q)PATH=$(CURDIR)/$(BUILD)/nginx/usr/sbin:$(CURDIR)/$(BUILD)/prometheus/usr/bin:$$PATH:/usr/sbin \
	    BROWSER_TEST_FOLDER=$(BUILD)/browser \
	    DENOISED_BINARY=$(BUILD)/denoised DENOISED_OPENAPI=$(BUILD)/openapi.json \
	    $(PYTHON) -m pytest -q -rs -p no:cacheprovider --ignore tests/cross \
	    $(PYTEST_ARGS) tests

# Daemons that are stopped, and replaced, under load; `make test` does a few of each. 100 take about 5
# minutes on two processors.
RUNS ?= 100
SEED ?= 1
.PHONY: test-drain
test-drain: $(BUILD)/denoised
	$(Q)RUNS=$(RUNS) REPLACEMENTS=$(RUNS) SEED=$(SEED) DENOISED_BINARY=$(BUILD)/denoised $(PYTHON) -m pytest \
	    -q -s -p no:cacheprovider $(PYTEST_ARGS) tests/drain tests/deploy/test_supervision.py::test_a_new_daemon_takes_over

# Everything of tests/fault that `make test` does a part of.
.PHONY: test-faults
test-faults: $(BUILD)/denoised $(PRELOADS)
	$(Q)FAULTS=all DENOISED_BINARY=$(BUILD)/denoised $(PYTHON) -m pytest -q -s -p no:cacheprovider \
	    $(PYTEST_ARGS) tests/fault

# make test-random REQUESTS=10000 SEED=7 [SAN=address,undefined]: what `make test` does with a few hundred.
REQUESTS ?= 10000
SEED ?= 1
test-random: $(BUILD)/denoised | test-deps
	$(Q)RANDOM_REQUESTS=$(REQUESTS) RANDOM_SEED=$(SEED) DENOISED_BINARY=$(BUILD)/denoised \
	    $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/http/test_random.py

# make test-race SAN=thread SECONDS=60: a mixed load; `make test` has two seconds of it.
SECONDS := 60
test-race: $(BUILD)/denoised | test-deps
	$(Q)MIX_SECONDS=$(SECONDS) DENOISED_BINARY=$(BUILD)/denoised \
	    $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/http/test_mixed_load.py

# The Dockerfile's image, by container engines that need no daemon: as root, in a folder of the build folder that
# lies in memory (4 GB) and is gone afterwards.
.PHONY: test-container container-deps
test-container: $(BUILD)/denoised | container-deps
	$(Q)DENOISED_BINARY=$(BUILD)/denoised $(PYTHON) -m pytest -q -s -p no:cacheprovider $(PYTEST_ARGS) \
	    tests/container/check_image.py

# make run and make test in systems of their own: tests/fresh/run.sh says what it takes.
test-fresh:
	$(Q)RELEASES="$(RELEASES)" USERS="$(USERS)" KEEP="$(KEEP)" MAKE_TEST="$(MAKE_TEST)" tests/fresh/run.sh

# Where the shipped models come from (hours) and how they are judged (minutes); models/*.md say with
# which ARGS.
train: train-deps
	$(PYTHON) -m tools.train $(ARGS)
train-fast: train-deps
	$(PYTHON) -m tools.train.consistency $(ARGS)
evaluate: all train-deps
	$(PYTHON) -m tools.evaluate $(ARGS)
# Values of the shipped models by PyTorch, for tests/golden: after a new model, in seconds.
golden: train-deps
	$(PYTHON) -m tests.golden.generate
# Every sampler at several numbers of steps, two guidance intervals, and the student: models/mnist.md has the plot
# (PLOT=models/mnist-evaluations.png).
evaluate-samplers: all train-deps
	$(PYTHON) -m tools.evaluate --quick --count 2000 --plot $(or $(PLOT),$(BUILD)/mnist-evaluations.png) \
	    'sampler=dpmpp_2m,unipc,ipndm steps=4,5,6,8,10,15,20' 'sampler=heun steps=5,7,9,11,15' \
	    'sampler=ddim steps=5,10,20,50' 'sampler=ddpm steps=10,20,50,100' \
	    'sampler=ipndm steps=14 guidance_scale=1.6 guidance_interval=0.4:0.8' \
	    'sampler=ipndm steps=16 guidance_scale=2.5 guidance_interval=0.55:0.75' \
	    'model=models/mnist-fast.safetensors steps=1,2,4' $(ARGS)
evaluate-history: all train-deps
	$(PYTHON) -m tools.evaluate.history $(ARGS)

# The comparison with the peers: docs/performance.md. Their own install scripts are not run.
BENCH_BIN := $(addprefix $(BUILD)/tools/bench/,onednn_convs \
               $(if $(filter x86_64,$(ARCH)),peak hide_avx512.so))
$(BUILD)/tools/bench/peak $(BUILD)/tools/bench/onednn_convs: %: %.o
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(if $(findstring onednn,$@),-ldnnl)
$(BUILD)/tools/bench/onednn_convs.o: | bench-deps
$(BUILD)/tools/bench/hide_avx512.so: tools/bench/hide_avx512.c $(BUILD)/.flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -fPIC -o $@ $< -ldl
$(BUILD)/bench/node_modules/.package-lock.json: tools/bench/package-lock.json tools/npm-ci.sh | bench-deps
	$(Q)tools/npm-ci.sh $(BUILD)/bench tools/bench
bench: all bench-deps $(BENCH_BIN) $(BUILD)/bench/node_modules/.package-lock.json
	$(PYTHON) -m tools.bench $(ARGS)

# Is what `auto` takes the fastest on this machine? Exit status 1 where another choice is faster.
bench-auto: all
	$(Q)$(PYTHON) -m tools.bench.auto $(ARGS)

# The load generator, and what it says of a daemon of its own; docs/performance.md has the figures.
$(BUILD)/load: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tools/bench/load/*.c))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_ALL)
bench-load: all $(BUILD)/load
	@tools/install-packages.sh python3-tqdm python3-matplotlib python3-numpy wrk
	$(PYTHON) -m tools.bench.load $(ARGS)

# What is shown at length: docs/reliability.md says of each what it takes.
.PHONY: overload soak isolation
isolation: all
	$(PYTHON) -m tests.load.isolation $(ARGS)
overload: all $(BUILD)/load
	@tools/install-packages.sh python3-tqdm wrk
	$(PYTHON) -m tools.bench.load.overload $(ARGS)
MINUTES ?= 30
soak: all
	@tools/install-packages.sh python3-tqdm python3-matplotlib
	$(PYTHON) -m tools.soak --minutes $(MINUTES) $(ARGS)

lint: lint-deps deps $(BUILD)/gen/openapi_json.h
	$(Q)tests/lint/run.sh

# ---- install ------------------------------------------------------------------------------------

BINDIR := $(DESTDIR)$(PREFIX)/bin
DATADIR := $(DESTDIR)$(PREFIX)/share/denoised
DOCDIR := $(DESTDIR)$(PREFIX)/share/doc/denoised
UNITDIR := $(DESTDIR)$(PREFIX)/lib/systemd/system
CONFDIR := $(DESTDIR)/etc/denoised
UNITS := $(addprefix systemd/denoised,.service .socket -admin.socket)
SYSTEMD_VERSION ?= $(shell systemctl --version 2>/dev/null | awk 'NR == 1 {print $$2}')
# Type=notify-reload is understood from 253 on.
OLD_SYSTEMD = $(shell test "$(or $(SYSTEMD_VERSION),252)" -ge 253 || echo yes)
NOTIFY_OLD := s|^Type=notify-reload|Type=notify\nExecReload=/bin/kill -HUP $$MAINPID|

# What runs, as in the container ...
install-program: all
	install -D -m 755 $(BUILD)/denoised $(BINDIR)/denoised
	install -D -m 644 -t $(DATADIR)/models models/*.safetensors
	install -D -m 644 -t $(DATADIR)/licenses/swagger-ui $(RENDERER)/LICENSE $(RENDERER)/NOTICE \
	    $(RENDERER)/swagger-ui-bundle.js.LICENSE.txt

# ... and all around it. Settings that are there already stay, and uninstall leaves those that were changed.
install: install-program
	install -D -m 644 -t $(DOCDIR) README.md CHANGELOG.md LICENSE openapi.yaml
	install -D -m 644 -t $(DOCDIR)/docs docs/*.md
	install -D -m 644 -t $(DOCDIR)/models models/*.md
	install -D -m 644 -t $(DOCDIR)/examples systemd/api-keys.conf deploy/nginx/denoised.conf
	install -D -m 644 -t $(UNITDIR) $(UNITS)
	sed -i -e 's|@PREFIX@|$(PREFIX)|' $(if $(OLD_SYSTEMD),-e '$(NOTIFY_OLD)') \
	    $(UNITDIR)/denoised.service
	test -e $(CONFDIR)/denoised.env || install -D -m 644 systemd/denoised.env $(CONFDIR)/denoised.env

uninstall:
	rm -f $(BINDIR)/denoised $(patsubst systemd/%,$(UNITDIR)/%,$(UNITS))
	rm -rf $(DATADIR) $(DOCDIR)
	! cmp -s systemd/denoised.env $(CONFDIR)/denoised.env || rm $(CONFDIR)/denoised.env
	! test -d $(CONFDIR) || rmdir --ignore-fail-on-non-empty $(CONFDIR)

clean:
	rm -rf build build-*

-include $(wildcard $(BUILD)/tests/fuzz/*.d)
-include $(CROSS_OBJ:.o=.d)
-include $(CORE_OBJ:.o=.d) $(API_OBJ:.o=.d) $(SERVER_OBJ:.o=.d) $(TEST_BIN:%=%.d) $(TEST_LIB_OBJ:.o=.d)

.PHONY: all help test-fresh deps test-deps train-deps fuzz-deps cross-deps bench-deps lint-deps run bench bench-auto bench-load train train-fast golden evaluate evaluate-samplers evaluate-history test test-unit test-python test-fuzz-corpus test-cross test-random test-race fuzz fuzz-run lint install-program install uninstall clean FORCE
