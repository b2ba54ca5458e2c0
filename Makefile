# Every command sets up what it needs: a fresh Debian or Ubuntu with a Rust toolchain is enough.

.PHONY: help setup build demo test lab bench fuzz soak audit

SECONDS ?= 60
MINUTES ?= 30

help:
	@echo 'make demo    publish the sample clip and watch it with three viewers, 20 s'
	@echo 'make test    everything that must hold; .ci/run is the same'
	@echo 'make lab     full tables of the LAN lab (root)'
	@echo 'make bench   criterion benches of every stage of the path, and a table of them'
	@echo 'make fuzz    every fuzz target for SECONDS=60 each'
	@echo 'make soak    endurance on the LAN lab for MINUTES=30 (root)'
	@echo 'make build   the release binary, target/release/swarmcast'
	@echo 'make audit   known vulnerabilities of the dependencies (needs the network)'

setup:
	@.ci/setup

build: setup
	@cargo build --release --locked -p swarmcast-cli

demo: build
	@.ci/demo

test: setup
	@.ci/test

lab: build
	@.ci/lab

bench: setup
	@. .ci/env && cargo bench --locked -p swarmcast-benches --benches && \
		cargo run --release --locked --quiet -p swarmcast-benches -- "$$CARGO_TARGET_DIR/criterion"

fuzz:
	@.ci/fuzz $(SECONDS)

soak: build
	@.ci/lab soak --minutes $(MINUTES)

audit: setup
	@. .ci/env && cargo deny check advisories
