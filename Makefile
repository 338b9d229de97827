# `make run` and `make test` do all of their set-up, once; `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
# The folder of compare.py, turnload/ and floor/, and what it takes to build and use them.
TURNLOAD ?= ../shared/bench
LOAD_NEEDS := gcc=gcc make=make openssl/ssl.h=libssl-dev openssl=openssl taskset=util-linux
CI ?=

# The first Python that is new enough; `make PYTHON=...` overrides.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	$(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
CODE := turnd tests bench

# The native engine is built and checked where cargo is, in its own folder for its own settings.
HAS_CARGO := $(shell command -v cargo)
CARGO := cd native && cargo
# OpenSSL for DTLS in the native engine. Without it everything else is built.
OPENSSL_DEV := openssl/ssl.h=libssl-dev pkg-config=pkg-config
FUZZ_SECONDS ?= 600

.PHONY: help run install engine test lint lint-native test-native format bench soak fuzz sanitize lock clean packages

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

run: install  ## set up, then serve in the foreground (options: make run ARGS="--config FILE")
	$(BIN)/turnd serve $(ARGS)

install: $(VENV)/installed engine  ## set up alone; leaves .venv/bin/turnd

engine:  ## build the native engine, where that can be done
	@$(if $(HAS_CARGO),.ci/packages $(OPENSSL_DEV) $(if $(CI),,|| true))
	@native/install

# What has cargo has a native engine, or the tests would not show that they passed without.
# The core's are the tests that coverage is measured of; measuring takes as long as they do. Most of
# the others wait for other programs: more of them at once than there are processors.
CORE_TESTS := $(addprefix tests/,stun turn allocations auth)
PYTEST := $(BIN)/pytest --dist loadscope --no-loadscope-reorder
test: export TURND_REQUIRE_NATIVE := $(if $(HAS_CARGO),1,0)
test: $(VENV)/installed-dev packages engine lint test-native  ## set up, lint, types, every test, coverage
	rm -f .coverage
	$(PYTEST) -n auto --cov --cov-context=test --cov-report= $(CORE_TESTS)
	$(BIN)/python tests/own_coverage.py
	$(PYTEST) -n 6 $(CORE_TESTS:%=--ignore=%)

lint: $(VENV)/installed-dev engine lint-native  ## style, types and the direction of imports
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	test ! -e turnd/_native.abi3.so || $(BIN)/stubtest turnd._native
	$(BIN)/lint-imports

ifdef HAS_CARGO
lint-native:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --workspace --all-targets $$(./features) -- -D warnings
	$(CARGO) clippy --locked --package relay-core --no-default-features -- -D warnings

test-native: $(VENV)/installed-dev
	$(CARGO) test --locked --quiet --workspace $$(./features)
	$(if $(CI),$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=5)
else
lint-native test-native:
	@echo "cargo was not found: $@ is left out."
endif

format: $(VENV)/installed-dev  ## put the code into the project's style
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(if $(HAS_CARGO),$(CARGO) fmt)

bench: install  ## measure against coturn (BENCH="--help" lists the options)
	@.ci/packages turnserver=coturn $(LOAD_NEEDS) liburing/io_uring.h=liburing-dev
	$(BIN)/python -m bench.run --turnload $(TURNLOAD) $(BENCH)

soak: install  ## let clients come and go for minutes, see that nothing stays (SOAK="--help")
	@.ci/packages $(LOAD_NEEDS)
	$(BIN)/python -m bench.soak --turnload $(TURNLOAD) $(SOAK)

fuzz:  ## fuzz the native engine, FUZZ_SECONDS (600) for each target
	@.ci/packages g++=g++
	native/fuzz/run $(FUZZ_SECONDS)

sanitize:  ## test the native engine under the address sanitizer and, where it is, Miri
	native/sanitize

lock: $(VENV)/installed-dev  ## write the versions at hand into constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:  ## remove all that the other targets made
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache \
		.ruff_cache .import_linter_cache turnd.egg-info native/target native/fuzz/target \
		native/fuzz/corpus native/fuzz/artifacts \
		turnd/_native.abi3.so turnd/_native.missing
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# In CI what cannot be installed ends the run; elsewhere the tests that need it fail by themselves.
packages:
	@.ci/packages redis-server=redis-server turnutils_uclient=coturn chromium=chromium \
		certutil=libnss3-tools ip=iproute2 unshare=util-linux tshark=tshark tcpdump=tcpdump \
		systemd-analyze=systemd nginx=nginx haproxy=haproxy curl=curl openssl=openssl \
		stun=stun-client $(if $(CI),,|| true)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { \
		echo "turnd needs Python 3.11 or newer. On Debian or Ubuntu: apt install python3 python3-venv" >&2; \
		exit 1; }
	@.ci/packages $(PYTHON):ensurepip=$(notdir $(PYTHON))-venv
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP_INSTALL) --editable .
	@touch $@

# --group needs pip 25.1, newer than what a venv of Python 3.11 comes with.
$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) --upgrade 'pip>=25.1'
	$(PIP_INSTALL) --group dev
	@touch $@
