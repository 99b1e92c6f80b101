# Every habit of the project as a short target. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(HOME)/.cache/waybill
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/tools/bin:$(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin
export RUST_LIB_BACKTRACE ?= 0
export WAYBILL_CACHE ?= $(CACHE)
CARGO ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

RUN := $(CACHE)/run
LOG := $(RUN)/test.log
export WAYBILL_SKIPS := $(RUN)/skips

# Tests against real servers, and all the others.
TESTS := $(basename $(notdir $(wildcard */tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard */tests/*/main.rs)))
SERVERS := $(filter cloudwatch elasticsearch kafka sinks syslog,$(TESTS))

# Genuine programs that the tests drive.
PROGRAMS := logrotate v2ray gzip zstd softether-common vpnserver rsyslogd syslog-ng promtool sshd sudo

# Appends to the log; the totals are summed from it even when a test fails.
tee = 2>&1 | tee -a $(LOG)

.PHONY: help demo test test-unit test-integration test-servers test-cluster test-kind torture bench lint fmt build images clean-run setup servers system

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

demo: PROGRAMS := v2ray
demo: setup build ## genuine V2Ray and qURL lines, shipped, searched, held, killed and accounted for; under a minute
	@$(CARGO) build --quiet --workspace --bin demo
	@$(CARGO_TARGET_DIR)/debug/demo

test: clean-run lint ## lint, unit tests, the agent on this host with a short torture, real servers; test-cluster is apart
	@status=0; \
	$(MAKE) --no-print-directory test-unit TOTAL=no || status=1; \
	$(MAKE) --no-print-directory test-integration TOTAL=no || status=1; \
	$(MAKE) --no-print-directory test-servers TOTAL=no || status=1; \
	scripts/totals $(LOG) $(WAYBILL_SKIPS) && exit $$status

test-unit: system setup ## the tests beside the code
	@$(if $(TOTAL),,$(MAKE) --no-print-directory clean-run)
	@$(CARGO) test --workspace --lib --bins --no-fail-fast $(tee)
	@$(CARGO) test --workspace --doc --no-fail-fast $(tee)
	@$(if $(TOTAL),,scripts/totals $(LOG) $(WAYBILL_SKIPS))

test-integration: setup build ## the agent as a black box; root sees more of it
	@$(if $(TOTAL),,$(MAKE) --no-print-directory clean-run)
	@$(CARGO) test --workspace $(addprefix --test=,$(filter-out $(SERVERS),$(TESTS))) --no-fail-fast -- --nocapture $(tee)
	@$(if $(TOTAL),,scripts/totals $(LOG) $(WAYBILL_SKIPS))

test-servers: setup servers build ## delivery to real servers, faults and all; WAYBILL_FULL=1: a million records, minutes of absence
	@$(if $(TOTAL),,$(MAKE) --no-print-directory clean-run)
	@$(CARGO) test --workspace $(addprefix --test=,$(SERVERS)) --no-fail-fast -- --nocapture --test-threads=3 $(tee)
	@$(if $(TOTAL),,scripts/totals $(LOG) $(WAYBILL_SKIPS))

# Each test program runs inside the cluster; cargo itself stays outside.
WITHIN := --config "target.'cfg(unix)'.runner = ['$(CURDIR)/tests/cluster/cluster', 'run']"
# TEST=cluster_edits runs one file; a cluster that `tests/cluster/cluster up` has left standing is used, and stands on.
TEST ?= cluster_*
CLUSTER_IMAGES := $(CARGO_TARGET_DIR)/debug/waybill $(CARGO_TARGET_DIR)/debug/waybill-operator

test-cluster: build ## a real Kubernetes of two nodes, without Docker: the CRD, the agents, the operator; needs root and Go 1.26
	@$(if $(TOTAL),,$(MAKE) --no-print-directory clean-run)
	@if why=$$(CACHE=$(CACHE) tests/cluster/cluster lacks); then \
		$(CARGO) test --workspace --test '$(TEST)' --no-run && \
		$(CARGO) run --quiet --bin fetch && \
		next=$$(CARGO=$(CARGO) tests/cluster/next $(CACHE)) && export WAYBILL_NEXT=$$next && \
		CACHE=$(CACHE) tests/cluster/cluster with $(CLUSTER_IMAGES) $$next/bin/waybill=2 $$next/bin/waybill-operator=2 -- \
		$(CARGO) test $(WITHIN) --workspace --test '$(TEST)' --no-fail-fast -- --ignored --nocapture --test-threads=1 $(tee); \
	else echo "SKIPPED: test-cluster: $$why"; echo "test-cluster: $$why" >> $(WAYBILL_SKIPS); fi
	@$(if $(TOTAL),,scripts/totals $(LOG) $(WAYBILL_SKIPS))

# Not all of it: upgrades, and the servers beside the cluster, are tested by test-cluster alone.
test-kind: ## the same suite on kind, for who has Docker: one control plane, two workers
	@$(if $(TOTAL),,$(MAKE) --no-print-directory clean-run)
	@if why=$$(tests/cluster/kind lacks); then \
		$(MAKE) --no-print-directory images && \
		$(CARGO) test --workspace --test '$(TEST)' --no-run && \
		CACHE=$(CACHE) tests/cluster/kind with waybill:$(VERSION)=waybill:1 waybill-operator:$(VERSION)=waybill-operator:1 -- \
		$(CARGO) test --workspace --test '$(TEST)' --no-fail-fast -- --ignored --nocapture --test-threads=1 $(tee); \
	else echo "SKIPPED: test-kind: $$why"; echo "test-kind: $$why" >> $(WAYBILL_SKIPS); fi
	@$(if $(TOTAL),,scripts/totals $(LOG) $(WAYBILL_SKIPS))

torture: setup build clean-run ## conservation under violence: 1,000 kills at random, 500 and more at every step of every rotation
	@WAYBILL_TORTURE_KILLS=$${WAYBILL_TORTURE_KILLS:-1000} \
	$(CARGO) test --workspace --test torture --test rotation_torture -- --ignored --nocapture $(tee)
	@scripts/totals $(LOG) $(WAYBILL_SKIPS)

bench: setup ## what framing, parsing and encoding cost; waybill parse beside rsyslog and syslog-ng
	@$(CARGO) bench --workspace
	@$(CARGO) build --quiet --release --workspace --bin waybill
	@scripts/throughput $(CARGO_TARGET_DIR)/release/waybill

system: # what compiling needs of the system
	@scripts/system

servers: # what the real servers of the tests need of the system
	@scripts/system servers

lint: system ## format, clippy, licences and advisories
	@$(CARGO) fmt --all -- --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo 'SKIPPED: cargo-deny is not installed'; fi

fmt: ## format the code
	@$(CARGO) fmt --all

images: ## container images of the agent and of the operator, by docker buildx; PLATFORMS=linux/amd64,linux/arm64
	@docker buildx build $(if $(PLATFORMS),--platform $(PLATFORMS),--load) --file shipper/Dockerfile --tag waybill:$(VERSION) .
	@docker buildx build $(if $(PLATFORMS),--platform $(PLATFORMS),--load) --file operator/Dockerfile --tag waybill-operator:$(VERSION) .

# Always the whole workspace: a part of it would choose other features and compile the dependencies anew.
build: system ## the agent and the operator
	@$(CARGO) build --workspace --bins

setup: # the programs that the tests drive; the machine itself is left as it is
	@scripts/tools $(CACHE)/tools $(PROGRAMS)

clean-run:
	@mkdir -p $(RUN) && rm -f $(LOG) $(WAYBILL_SKIPS) && touch $(LOG) $(WAYBILL_SKIPS)
