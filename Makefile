# Everything a newcomer runs. `make demo` and `make test` install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
LAB := integration-tests/lab/lab.sh

.PHONY: help demo demo-down test test-unit test-fleet soak bench build deps fmt lint generate

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: build ## Three clusters, a canary across the fleet in waves, and a rollback
	target/debug/bellwether-demo up

demo-down: ## Stop and remove everything that the demo started
	@if [ -x target/debug/bellwether-demo ]; then target/debug/bellwether-demo down; \
	 else echo "nothing was built, so nothing runs"; fi

deps:
	@$(LAB) deps

build: deps
	@echo "== building the lab (Kubernetes, Traefik, kwok; minutes the first time)"
	@$(LAB) build
	@echo "== building Bellwether"
	@cargo build --workspace --all-targets --locked

test: build test-unit test-fleet ## Every test, on real clusters and a real Postgres

test-unit:
	@echo "== tests without clusters"
	@cargo test --workspace --locked --no-fail-fast -- --quiet
	@cd integration-tests/lab && GOTOOLCHAIN=local go test ./...

test-fleet:
	@echo "== tests on real clusters"
	@cargo test -p bellwether-integration-tests --features clusters --test fleet --locked

# SEEDS=400 plays fewer; BELLWETHER_SIM_SEED=7 plays one alone.
SEEDS ?= 20000
soak: ## Simulate 20,000 seeds of faults, optimised (an hour or two on two cores)
	@BELLWETHER_SIM_SEEDS=$(SEEDS) cargo test --release --locked -p bellwether-sim --test seeds -- \
		--nocapture no_rule_is_broken

bench: deps ## Measure, print, and append to docs/BENCHMARKS.md
	@$(LAB) build
	@cargo build --release --locked -p bellwether-hub -p bellwether-agent -p bellwether -p bellwether-bench
	@target/release/bellwether-bench

fmt:
	@cargo fmt --all

lint:
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

generate: ## Write the generated files anew (CRDs, OpenAPI)
	@cargo run -q -p bellwether-api --example generate-crds
