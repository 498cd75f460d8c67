# `make help` lists every target.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Properties are tried with the same inputs each time, so that a run judges the change and not its luck.
export PROPTEST_RNG_SEED ?= 1
TOOLS = set -a; eval "$$(tools/env)"; set +a;

.PHONY: help
help: ## List all targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: install
install: ## Install the tools for building and testing under ~/.cache/toolward; says nothing when all is there.
	@tools/install

.PHONY: run-tools
run-tools:
	@tools/install run

.PHONY: login-tools
login-tools:
	@tools/install login

.PHONY: wire-tools
wire-tools:
	@tools/install wire

.PHONY: build
build: ## Build the control plane, target/debug/toolward.
	cargo build --workspace --bins

.PHONY: wasm
wasm: ## Build the filter, target/wasm/toolward.wasm.
	@tools/install build
	@tools/build-wasm

.PHONY: wasm-probe
wasm-probe:
	@tools/install build
	@tools/build-wasm probe

.PHONY: wasm-floor
wasm-floor:
	@tools/install build
	@tools/build-wasm floor

.PHONY: demo
demo: export DEMO_BEGAN := $(shell date +%s%3N)
demo: run-tools wasm build ## Show the main job with real clients; ONCE=1 stops by itself.
	@$(TOOLS) target="$${CARGO_TARGET_DIR:-target}"; "$$target/debug/demo"

.PHONY: demo-oauth
demo-oauth: run-tools wasm build ## Show a real login: Inspector, an OAuth server, every HTTP step; ONCE=1 stops by itself.
	@$(TOOLS) target="$${CARGO_TARGET_DIR:-target}"; "$$target/debug/demo-oauth"

.PHONY: check
check: ## The fast part of the tests: format, lints for native and wasm, unit and golden tests.
	@tools/install build
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
	cargo clippy --quiet --package toolward-filter --lib --examples --target wasm32-wasip1 -- -D warnings
	cargo test --quiet --workspace

.PHONY: test
test: check deny test-e2e test-login test-wire test-hostile test-cluster test-tenants ## Everything: `check`, then with a real Envoy, real MCP servers and clients, a real API server.

.PHONY: deny
deny: run-tools ## What dependencies may bring in: licenses, sources, bans; CHECKS=advisories asks RustSec on GitHub.
	@$(TOOLS) "$$TOOLWARD_CARGO_DENY" --log-level error check $(or $(CHECKS),licenses bans sources)

.PHONY: test-e2e
test-e2e: run-tools wasm build ## The end-to-end tests alone.
	@$(TOOLS) cargo test --workspace --features toolward-tests/e2e --test e2e

.PHONY: test-login
test-login: login-tools wasm build ## Real clients log in at a real OAuth server, and what the gateway must answer.
	@$(TOOLS) tools/counted cargo test --workspace --features toolward-tests/e2e --test login

.PHONY: test-wire
test-wire: wire-tools wasm build ## Servers and clients on all SDKs and the official conformance suite, through the gateway and directly.
	@$(TOOLS) tools/counted cargo test --workspace --features toolward-tests/e2e --test wire

.PHONY: test-cluster
test-cluster: install wasm build ## The tests on a real Kubernetes API server alone.
	@$(TOOLS) tools/counted cargo test --workspace --features toolward-tests/e2e --test cluster

.PHONY: test-tenants
test-tenants: install wasm build ## Two hostile tenants beside an honest one: TENANT_SECONDS=120 says for how long, TENANT_ATTACK=word,word which attacks.
	@$(TOOLS) tools/counted cargo test --workspace --features toolward-tests/e2e --test tenants -- --nocapture

.PHONY: test-hostile
test-hostile: export FLOOD ?= 20000
test-hostile: wire-tools wasm wasm-probe build ## Hostile input, to real servers and to Envoy: FLOOD=20000 says how large the flood is.
	@$(TOOLS) tools/counted cargo test --workspace --features toolward-tests/e2e --test hostile -- --nocapture

.PHONY: hostile-suite
hostile-suite: ## The hostile requests to any MCP gateway: URL=http://… TOKEN=… GRANTED=… FORBIDDEN=…
	@URL="$(URL)" TOKEN="$(TOKEN)" GRANTED="$(GRANTED)" FORBIDDEN="$(FORBIDDEN)" cargo run --quiet --package toolward-tests --bin hostile-suite

.PHONY: tutorial
tutorial: run-tools wasm build ## Follow a folder with the public tutorial's manifests: TUTORIAL=path.
	@test -n "$(TUTORIAL)" || { echo "error: say where the tutorial's files are: make tutorial TUTORIAL=path" >&2; exit 1; }
	@$(TOOLS) TUTORIAL="$(abspath $(TUTORIAL))" cargo test --workspace --features toolward-tests/tutorial --test tutorial

.PHONY: vectors
vectors: run-tools wasm wasm-probe build ## Public vectors of JSON and JWS through a real Envoy: VECTORS=path.
	@test -n "$(VECTORS)" || { echo "error: say where the vectors are: make vectors VECTORS=path" >&2; exit 1; }
	@$(TOOLS) VECTORS="$(abspath $(VECTORS))" cargo test --quiet --workspace --features toolward-tests/vectors --test vectors

.PHONY: fuzz
fuzz: ## Run each fuzz target for a while: SECONDS=20, SEED=0 for new inputs, TARGETS="request token" for some of them.
	@tools/install build
	@SECONDS_EACH=$(or $(SECONDS),20) SEED=$(or $(SEED),1) tools/fuzz $(TARGETS)

.PHONY: bench
bench: bench-policy bench-data-plane bench-control-plane ## Measure what Toolward costs, beside what it is compared with: FULL=1 takes its time. See docs/performance.md.

.PHONY: bench-data-plane
bench-data-plane: run-tools wasm wasm-floor build ## The filter's part of it; ONLY=calls measures one workload.
	@$(TOOLS) ONLY="$(ONLY)" $(if $(FULL),FULL=1) "$${CARGO_TARGET_DIR:-target}/debug/data-plane"

.PHONY: bench-check
bench-check: bench ## Measure, and compare with the figures that are checked in.
	@"$${CARGO_TARGET_DIR:-target}/debug/bench-check"

.PHONY: bench-policy
bench-policy: build ## The parts of a decision by themselves, natively: how long they take, and their instructions.
	@tools/install bench
	cargo bench --quiet --workspace --bench policy
	@"$${CARGO_TARGET_DIR:-target}/debug/instructions"

.PHONY: bench-control-plane
bench-control-plane: ## The control plane's part of it: worlds of up to 10,000 routes and 1,000 Envoys; ONLY=changes or ONLY=memory measures one of both.
	cargo build --quiet --profile measure --workspace --bin toolward --bin control-plane
	@$(if $(FULL),FULL=1) "$${CARGO_TARGET_DIR:-target}/measure/control-plane"

.PHONY: bench-tenants
bench-tenants: install wasm build ## How soon a team's changes land beside each attack: TENANT_SECONDS=20 for each, TENANT_ATTACK=word,word for some, TENANTS=1 for one hostile tenant in place of two.
	cargo build --quiet --profile measure --workspace --bin toolward
	@$(TOOLS) TOOLWARD="$$(realpath "$${CARGO_TARGET_DIR:-target}")/measure/toolward" cargo test --workspace --features toolward-tests/e2e --test tenants -- --ignored --nocapture how_soon

.PHONY: generate
generate: ## Rewrite what is generated and checked in; it must not differ from what is there.
	cargo run --quiet --package toolward-xds-server --example descriptors
	UPDATE_GOLDEN=1 cargo test --quiet --workspace

.PHONY: clean
clean: ## Remove what was built; the tools' cache stays.
	cargo clean
