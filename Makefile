# What a person does with plex-exporter. CI calls the same targets (.ci/run).

CARGO ?= cargo
# Tests that need a tool are ignored by `cargo test`; these run them where the tool is there.
TEST_THREADS ?= 8
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: run demo test lint fmt bench

run: ## Export the metrics of the Plex in PLEX_SERVER, with the token in PLEX_TOKEN
	$(CARGO) run --release --quiet

demo: ## Export the metrics of a simulated Plex that plays an evening
	$(CARGO) build --release --quiet
	$(CARGO) run --release --quiet --example demo

test: ## Run all tests; those that need a missing tool are reported as ignored
	$(CARGO) test --quiet --lib --bins
	$(CARGO) test --test blackbox -- --test-threads $(TEST_THREADS)
	@if command -v promtool >/dev/null; then \
		$(CARGO) test --test blackbox -- --test-threads $(TEST_THREADS) --ignored promtool_; \
	else echo "promtool is not installed: its tests were ignored"; fi

lint: ## Formatting and warnings
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt

bench: ## Print what the exporter costs
	$(CARGO) bench --quiet --bench budgets
