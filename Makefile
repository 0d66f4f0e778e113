# `make help` lists the verbs. All of them work as an ordinary user and under sudo; test, soak, demo, bench
# and install need root, because they make network namespaces or write to the system.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 300
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d

SWIFT := packaging/toolchain.sh swift
# One set of flags for every release build: another set would build all packages again.
RELEASE := -c release --static-swift-stdlib -Xlinker -s
# Debug programs serve demo and test alike: built in half the time of release ones, and once for both.
DEBUG_BIN := .build/debug
RELEASE_BIN := .build/release
SCRIPTS := $(wildcard packaging/*.sh demo/*.sh Benchmarks/*.sh Tests/Scenarios/*.sh) .ci/run

.PHONY: help build release test soak lint format docs fuzz bench check demo install uninstall clean
.PHONY: build-packages test-packages need-root

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

build: build-packages ## build the programs for development
	$(SWIFT) build

release: build-packages ## build the programs for installation
	$(SWIFT) build $(RELEASE) --product sallyportd
	$(SWIFT) build $(RELEASE) --product sallyport

# The finished test program runs by itself: `swift test` as root would leave root's files in .build.
test: need-root test-packages ## run all tests (FILTER=regex: some)
	$(SWIFT) build --build-tests
	$(DEBUG_BIN)/sallyportPackageTests.xctest --testing-library swift-testing \
	    $(if $(FILTER),--filter '$(FILTER)')

soak: need-root test-packages ## do everything at once for a while, against a model (SOAK_SECONDS=300)
	$(SWIFT) build
	SOAK_SECONDS=$(SOAK_SECONDS) Tests/Scenarios/scenario.sh everything_at_once_agrees_with_a_model $(DEBUG_BIN)

demo: need-root test-packages ## show the whole story in throw-away network namespaces
	$(SWIFT) build
	demo/demo.sh $(DEBUG_BIN)

bench: need-root test-packages release ## measure (ARGS=--quick: a minute; ARGS=--million: with 1,000,000 grants too)
	Benchmarks/bench.sh $(RELEASE_BIN) $(ARGS)
	Benchmarks/packets.sh $(RELEASE_BIN) $(ARGS)

lint: test-packages ## check the form of sources, scripts and the unit
	$(SWIFT) format lint --strict --recursive Sources Tests Fuzz Package.swift
	for script in $(SCRIPTS); do bash -n "$$script"; done
	shellcheck -x $(SCRIPTS)
	for script in Tests/Scenarios/*.pl Tests/Scenarios/*/*.pm packaging/manual.pl; do \
	    perl -ITests/Scenarios -c $$script 2>&1 | grep -v 'syntax OK' && exit 1 || true; done
	packaging/check-unit.sh systemd/sallyportd.service
	for path in $$(grep -oE '`[A-Z][A-Za-z]+/[A-Za-z+./]+`' docs/architecture.md | tr -d '`'); do \
	    [[ -e Sources/$$path ]] || { echo "docs/architecture.md: there is no Sources/$$path" >&2; exit 1; }; done

format: ## bring the Swift sources into form
	$(SWIFT) format --in-place --recursive Sources Tests Fuzz Package.swift

# From the build that is there: the module's public symbols, and pages made of their comments.
docs: build ## build the reference of Nftables into .build/Nftables.doccarchive
	rm -rf .build/symbols .build/Nftables.doccarchive
	mkdir -p .build/symbols
	$(SWIFT) symbolgraph-extract -module-name Nftables -minimum-access-level public \
	    -target $$(uname -m)-unknown-linux-gnu -I $(DEBUG_BIN)/Modules -I Sources/CMnl -I Sources/CNftnl \
	    -I .build/checkouts/swift-system/Sources/CSystem/include \
	    -Xcc -fmodule-map-file=$(DEBUG_BIN)/CLinux.build/module.modulemap -output-dir .build/symbols
	packaging/toolchain.sh docc convert --warnings-as-errors --fallback-display-name Nftables \
	    --fallback-bundle-identifier Nftables --additional-symbol-graph-dir .build/symbols \
	    --output-path .build/Nftables.doccarchive

# The backtracer and the address sanitizer would wait for each other.
fuzz: build-packages ## feed arbitrary input to the parsers (FUZZ_SECONDS=60)
	SALLYPORT_FUZZ=1 $(SWIFT) build --scratch-path .build/fuzz --product fuzzer --sanitize=address \
	    -Xswiftc -sanitize=fuzzer -Xswiftc -use-ld=lld
	mkdir -p .build/fuzz/corpus
	SWIFT_BACKTRACE=enable=no .build/fuzz/debug/fuzzer -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=.build/fuzz/ .build/fuzz/corpus Fuzz/Corpus

check: lint build test docs ## everything a change must pass

install: need-root release ## install, arm the gate and start the agent (PREFIX, DESTDIR)
	PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' DESTDIR='$(DESTDIR)' UNITDIR='$(UNITDIR)' \
	    SYSUSERSDIR='$(SYSUSERSDIR)' packaging/install.sh install $(RELEASE_BIN)

uninstall: need-root ## stop the agent, remove the programs and the gate; keep configuration and ledger
	PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' DESTDIR='$(DESTDIR)' UNITDIR='$(UNITDIR)' \
	    SYSUSERSDIR='$(SYSUSERSDIR)' packaging/install.sh uninstall

clean: ## remove what was built
	rm -rf .build

build-packages:
	@packaging/debian-packages.sh build

test-packages:
	@packaging/debian-packages.sh test

need-root:
	@[[ $$EUID -eq 0 ]] || { echo "make $(MAKECMDGOALS): needs root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }
