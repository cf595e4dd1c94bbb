# Convoke's commands. `make run` and `make test` do all the set-up they need.
#
# CARGO_PROFILE  debug (default) or release: how `make run` and the browser tests build the server
# SCENARIO       smoke (default): what `make loadtest` carries out

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CARGO_PROFILE ?= debug
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CARGO_FLAGS := --locked $(if $(filter release,$(CARGO_PROFILE)),--release,)
BINARY := $(abspath $(TARGET_DIR)/$(CARGO_PROFILE)/convoke)
NPM_CI := npm ci --no-audit --no-fund --loglevel=error
WEB := clients/web
E2E := tests/e2e
ACS := tests/acs
SCHEMA := tests/schema
SCHEMA_VENV := $(abspath $(TARGET_DIR)/schema-venv)
ACS_VENV := $(abspath $(TARGET_DIR)/acs-venv)
WHIP := tests/whip
WHIP_VENV := $(abspath $(TARGET_DIR)/whip-venv)
WEBRTC_RS := $(abspath $(TARGET_DIR)/whip-webrtc-rs)
DOCS := tests/docs
DEPLOY := tests/deploy
DEPLOY_VENV := $(abspath $(TARGET_DIR)/deploy-venv)
DATA_DIR ?= data
SCENARIO ?= smoke

.PHONY: help run test test-full features fuzz-replay simulate lint fmt web web-test rust-test acs whip-test webrtc-rs \
  schema-test docs-test check-deploy check-licences e2e path-test server \
  browser coturn curl gstreamer nftables postgres tshark bench bench-participants bench-join \
  valgrind bench-instructions bench-instructions-save bench-floor bench-workers bench-rooms bench-flood loadtest

help: ## lists the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: server ## builds everything and starts a server to try out, with the demo at /
	$(BINARY) serve --dev --data-dir $(DATA_DIR)

test: lint web-test rust-test bench-instructions acs whip-test schema-test docs-test e2e path-test check-licences check-deploy ## runs every check and test there is

test-full: test features fuzz-replay simulate ## all of that, features that are off, longer fuzz replays and simulations

# What `make test` does not build.
features: web
	cargo clippy --locked --package convoke --features otlp --all-targets -- -D warnings
	cargo test --locked --package convoke --features otlp --bin convoke --test otlp
	cargo clippy --locked --package convoke --lib --no-default-features -- -D warnings

# Each seed of the corpora, and so many mutations of it.
fuzz-replay:
	FUZZ_MUTATIONS=$(or $(FUZZ_MUTATIONS),200) cargo test --locked --package convoke-fuzz --test corpus

# Every scenario and random ones, on one worker and over three.
SIMULATE := cargo run --locked --release --package convoke-sim -- run --scenario all --seeds $(or $(SEEDS),40) --seed 1000
simulate:
	$(SIMULATE)
	$(SIMULATE) --span 3

lint: web ## formatting, clippy and documentation, warnings refused
	cargo fmt --all --check
	cargo fmt --manifest-path $(WHIP)/webrtc-rs/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

fmt: ## formats the Rust code
	cargo fmt --all
	cargo fmt --manifest-path $(WHIP)/webrtc-rs/Cargo.toml

# The demo and SDK are embedded in the server, so they are built first.
web: $(WEB)/dist-demo/index.html ## builds the web SDK and the demo

WEB_SOURCES := $(shell find $(WEB) -type f -not -path '*/node_modules/*' -not -path '*/dist*' 2>/dev/null)

$(WEB)/dist-demo/index.html: $(WEB)/node_modules/.package-lock.json $(WEB_SOURCES)
	cd $(WEB) && npm run build
	@test -f $@ && touch $@

%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	cd $* && $(NPM_CI)
	@touch $@

web-test: web ## lints, types and tests of the web SDK and the demo
	cd $(WEB) && npm run lint && npm run typecheck && npm test

rust-test: web postgres tshark ## every Rust test, documentation examples included
	@if command -v cargo-nextest >/dev/null; then \
	  set -x; \
	  cargo nextest run --locked --workspace; \
	  cargo test --locked --workspace --doc; \
	else \
	  set -x; \
	  cargo test --locked --workspace; \
	fi

server: web
	cargo build $(CARGO_FLAGS) --package convoke --bin convoke

acs: server $(ACS)/node_modules/.package-lock.json $(ACS_VENV)/.installed ## the public SDKs of Azure Communication Services
	cd $(ACS) && CONVOKE_BIN=$(BINARY) npm test
	CONVOKE_BIN=$(BINARY) $(ACS_VENV)/bin/python $(ACS)/python/basic.py

whip-test: $(WHIP)/relay/node_modules/.package-lock.json $(E2E)/node_modules/.package-lock.json
whip-test: server browser gstreamer webrtc-rs $(WHIP_VENV)/.installed ## others' tools by WHIP and WHEP, with each other and with Chromium
	export CONVOKE_BIN=$(BINARY) WHIP_PYTHON=$(WHIP_VENV)/bin/python \
	    WHIP_WEBRTC_RS=$(WEBRTC_RS)/debug/convoke-whip-webrtc-rs; \
	  $(WHIP)/namespace.sh $(WHIP_VENV)/bin/python $(WHIP)/tools.py; \
	  $(WHIP)/namespace.sh $(WHIP_VENV)/bin/python $(WHIP)/others.py; \
	  $(WHIP)/namespace.sh node --test --test-timeout=400000 $(WHIP)/zoo.test.mjs

# Beside the server's own build, which has none of these crates.
webrtc-rs:
	cargo build --locked --manifest-path $(WHIP)/webrtc-rs/Cargo.toml --target-dir $(WEBRTC_RS)

schema-test: server $(SCHEMA_VENV)/.installed ## the REST interface against its own description
	$(SCHEMA)/run.sh $(BINARY) $(SCHEMA_VENV)/bin/schemathesis

docs-test: server curl ## links, examples and commands of every document
	python3 $(DOCS)/links.py
	python3 $(DOCS)/blocks.py $(BINARY)

check-deploy: server $(DEPLOY_VENV)/.installed ## deploy/, by validators and a server
	promtool=$$($(DEPLOY)/install-promtool.sh $(abspath $(TARGET_DIR)/promtool)) && \
	  $(DEPLOY)/run.sh $(BINARY) $(DEPLOY_VENV) "$$promtool"

check-licences: ## what dependencies are under and come from, as deny.toml says
	python3 $(DEPLOY)/licences.py
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; fi

$(SCHEMA_VENV)/.installed: $(SCHEMA)/requirements.txt
$(DEPLOY_VENV)/.installed: $(DEPLOY)/requirements.txt
$(ACS_VENV)/.installed: $(ACS)/python/requirements.txt
$(WHIP_VENV)/.installed: $(WHIP)/requirements.txt
%/.installed:
	@python3 -m venv $(@D) 2>/dev/null || { $(INSTALL) 'tests in Python' \
	  '/usr/lib/python3*/ensurepip=python3-venv' && python3 -m venv $(@D); }
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

e2e: server browser nftables $(E2E)/node_modules/.package-lock.json ## real browsers in real calls
	cd $(E2E) && CONVOKE_BIN=$(BINARY) npm test
	cd $(E2E) && CONVOKE_BIN=$(BINARY) ./no-udp.sh npm run test:no-udp

path-test: server browser coturn $(E2E)/node_modules/.package-lock.json ## Chromium whose network goes, and behind a TURN server
	cd $(E2E) && CONVOKE_BIN=$(BINARY) npm run paths

# The floor is that of four packets to a receiver at once, about what a picture makes.
FLOOR := cargo bench --locked --quiet --package convoke-node --bench floor

bench: ## this server with one and two workers beside Janus and mediasoup, in one table (installs both; release build)
	$(MAKE) server CARGO_PROFILE=release
	cargo build --locked --release --package convoke-loadtest
	loadtest/peers/install.sh
	floor=$$($(FLOOR) | awk '/sending, 4 /{at=NR} at && NR==at+1 {print $$(NF-1)}'); \
	$(TARGET_DIR)/release/convoke-loadtest bench --server-binary $(abspath $(TARGET_DIR)/release/convoke) --floor "$$floor"

bench-participants: web ## measures the server with native clients (release build)
	cargo bench --locked --package convoke --bench participants --bench services

# With the tests' profile, so that nothing is built for it alone.
INSTRUCTIONS := cargo bench --locked --profile dev --package convoke-core --bench instructions

bench-instructions: valgrind ## compares instruction counts with the committed ones
	$(INSTRUCTIONS)

bench-instructions-save: valgrind ## commits to the present instruction counts
	$(INSTRUCTIONS) -- --save

bench-floor: ## what a forwarded packet takes on this machine at least
	cargo bench --locked --package convoke-node --bench floor

bench-workers: ## what a second worker adds, in packets a second and processor time a packet
	cargo bench --locked --package convoke-node --bench workers

bench-rooms: ## what a forwarded packet takes in rooms of 2 to 1,000, in processor time (10 minutes)
	cargo bench --locked --package convoke-node --bench workers -- rooms

bench-join: browser $(E2E)/node_modules/.package-lock.json ## measures joins in Chromium (release build)
	$(MAKE) server CARGO_PROFILE=release
	cd $(E2E) && CONVOKE_BIN=$(abspath $(TARGET_DIR)/release/convoke) node bench/join-time.mjs

bench-flood: ## what floods from strangers cost beside a running call, on loopback (release build)
	$(MAKE) server CARGO_PROFILE=release
	cargo build --locked --release --package convoke-loadtest
	$(TARGET_DIR)/release/convoke-loadtest flood --server-binary $(abspath $(TARGET_DIR)/release/convoke)

loadtest: ## a short load test of a server of its own; SCENARIO=meeting for another one (release build)
	$(MAKE) server CARGO_PROFILE=release
	cargo build --locked --release --package convoke-loadtest
	CONVOKE_BIN=$(abspath $(TARGET_DIR)/release/convoke) $(TARGET_DIR)/release/convoke-loadtest \
	  run $(SCENARIO) --report $(DATA_DIR)/loadtest

# What tests need of Debian's packages, only where it is absent.
INSTALL := tests/install.sh

valgrind:
	@$(INSTALL) 'counting instructions' valgrind=valgrind

gstreamer:
	@$(INSTALL) 'the tests of GStreamer' \
	  '/usr/lib/python3/dist-packages/gi/overrides/Gst.py=python3-gst-1.0' \
	  '/usr/lib/*/girepository-1.0/GstWebRTC-1.0.typelib=gir1.2-gst-plugins-bad-1.0' \
	  '/usr/lib/*/gstreamer-1.0/libgstopus.so=gstreamer1.0-plugins-base' \
	  '/usr/lib/*/gstreamer-1.0/libgstvpx.so=gstreamer1.0-plugins-good' \
	  '/usr/lib/*/gstreamer-1.0/libgstwebrtc.so=gstreamer1.0-plugins-bad' \
	  '/usr/lib/*/gstreamer-1.0/libgstnice.so=gstreamer1.0-nice' \
	  openssl=openssl $(IPROUTE2)

coturn:
	@$(INSTALL) 'the tests of paths' turnserver=coturn $(NFTABLES) $(IPROUTE2)

nftables:
	@$(INSTALL) 'the tests without UDP' $(NFTABLES)

# Directories of root are not in everybody's path.
NFTABLES := 'nft|/usr/sbin/nft=nftables'
IPROUTE2 := 'ip|/usr/sbin/ip=iproute2'

curl:
	@$(INSTALL) 'the tests of documents' curl=curl

# Tests start servers of their own with it.
postgres:
	@$(INSTALL) "the store's tests" '/usr/lib/postgresql/*/bin/initdb|initdb=postgresql'

tshark:
	@$(INSTALL) 'the tests of captures' tshark=tshark

browser:
	@$(INSTALL) 'the tests in browsers' "$${CHROMIUM:-/usr/bin/chromium}=chromium" \
	  "$${FIREFOX:-/usr/bin/firefox-esr}=firefox-esr" '/usr/share/fonts/truetype/dejavu/*.ttf=fonts-dejavu-core'
