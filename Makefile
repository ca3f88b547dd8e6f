# Everything a newcomer runs. `make demo` and `make test` install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
LAB := integration-tests/lab/lab.sh
# Where the program that renders is built; `make install` puts the one of its profile elsewhere.
RENDERER ?= target/debug/bellwether-renderer

.PHONY: help demo demo-down test test-unit test-fleet contour soak bench build renderer install root deps fmt lint generate

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: root build ## Three clusters, a canary across the fleet in waves, and a rollback
	target/debug/bellwether-demo up

demo-down: ## Stop and remove everything that the demo started
	@if [ -x target/debug/bellwether-demo ]; then target/debug/bellwether-demo down; \
	 else echo "nothing was built, so nothing runs"; fi

# Said first: a build of minutes must not end with it.
root:
	@if [ "$$(id -u)" -ne 0 ]; then \
	   echo "make $(or $(MAKECMDGOALS),demo) needs root: it installs Debian packages and makes real clusters, with network" >&2; \
	   echo "namespaces and containers. Run it as root, for example: sudo make $(or $(MAKECMDGOALS),demo)" >&2; \
	   echo "The programs alone need no root: make install PREFIX=\$$HOME/.local" >&2; \
	   exit 1; \
	 fi

deps:
	@$(LAB) deps

build: deps
	@echo "== building the lab (Kubernetes, Traefik, kwok; minutes the first time)"
	@$(LAB) build
	@echo "== building Bellwether"
	@cargo build --workspace --all-targets --locked
	@$(MAKE) --no-print-directory renderer

# Cargo does not build Go: the program that the hub renders with is made here, beside the hub.
renderer: ## Build bellwether-renderer (Go) beside the hub in target/
	@mkdir -p $(dir $(RENDERER))
	@cd hub/renderer && GOTOOLCHAIN=local CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$(abspath $(RENDERER))" .

# A data plane that only the tests need.
contour: deps
	@$(LAB) build --contour

test: root build contour test-unit test-fleet ## Every test, on real clusters and a real Postgres

test-unit:
	@echo "== tests without clusters"
	@cargo test --workspace --locked --no-fail-fast -- --quiet
	@cd integration-tests/lab && GOTOOLCHAIN=local go test ./...
	@cd hub/renderer && GOTOOLCHAIN=local go test ./...

test-fleet: root
	@echo "== tests on real clusters"
	@cargo test --workspace --features bellwether-integration-tests/clusters --test fleet --test variants --no-fail-fast --locked

# Where `make install` puts its programs: PREFIX/bin. PROFILE is cargo's (dev builds faster).
PREFIX ?= /usr/local
PROFILE ?= release
BUILT = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

install: ## Install bellwether, bellwether-hub, its renderer and kubectl-bellwether into PREFIX/bin (/usr/local/bin)
	@cargo build --profile $(PROFILE) --locked -p bellwether -p bellwether-hub
	@$(MAKE) --no-print-directory renderer RENDERER=$(BUILT)/bellwether-renderer
	@mkdir -p "$(DESTDIR)$(PREFIX)/bin" && test -w "$(DESTDIR)$(PREFIX)/bin" || \
	 { echo "cannot write to $(DESTDIR)$(PREFIX)/bin; run as root, or choose another place: make install PREFIX=\$$HOME/.local" >&2; exit 1; }
	@install -m 0755 $(BUILT)/bellwether $(BUILT)/bellwether-hub $(BUILT)/bellwether-renderer "$(DESTDIR)$(PREFIX)/bin/"
	@ln -sf bellwether "$(DESTDIR)$(PREFIX)/bin/kubectl-bellwether"
	@echo "installed bellwether, bellwether-hub, bellwether-renderer and kubectl-bellwether (a kubectl plugin) in $(DESTDIR)$(PREFIX)/bin"

# SEEDS=400 plays fewer; BELLWETHER_SIM_SEED=7 plays one alone.
SEEDS ?= 20000
soak: ## Simulate 20,000 seeds of faults, optimised (an hour or two on two cores)
	@BELLWETHER_SIM_SEEDS=$(SEEDS) cargo test --release --locked -p bellwether-sim --test seeds --test adopted -- \
		--nocapture no_rule_is_broken

bench: root deps ## Measure, print, and append to docs/BENCHMARKS.md
	@$(LAB) build
	@cargo build --release --locked -p bellwether-hub -p bellwether-agent -p bellwether -p bellwether-bench
	@$(MAKE) --no-print-directory renderer RENDERER=target/release/bellwether-renderer
	@target/release/bellwether-bench

fmt:
	@cargo fmt --all

lint:
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

generate: ## Write the generated files anew (CRDs, fields, provider table)
	@# With the features of the whole workspace, so that what is built already is used.
	@cargo build -q --workspace --locked --example generate-crds
	@target/debug/examples/generate-crds
