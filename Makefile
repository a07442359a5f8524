# What a person does with plex-exporter. CI calls the same targets (.ci/run).

CARGO ?= cargo
# Tests that need a tool are ignored by `cargo test`; these run them where the tool is there.
TEST_THREADS ?= 8
PREFIX ?= /usr/local
DESTDIR ?=
TOOLS = PATH="$(CURDIR)/target/tools/bin:$$PATH"

.PHONY: run demo test test-static dashboard lint deny lint-files tools fmt bench fuzz fuzz-build soak static dist deb \
	test-deb test-arm package image containerfile install uninstall

run: ## Export the metrics of the Plex in PLEX_SERVER, with the token in PLEX_TOKEN
	$(CARGO) run --release --quiet

demo: ## Export the metrics of a simulated Plex that plays an evening
	$(CARGO) build --release --quiet
	$(CARGO) run --release --quiet --example demo

test: ## Run all tests; those that need a missing tool are reported as ignored
	$(CARGO) test --quiet --lib --bins
	$(CARGO) test --test blackbox -- --test-threads $(TEST_THREADS) --skip abuse::
	$(MAKE) --no-print-directory soak
	@# These have deadlines of a tenth of a second, so they run with less beside them.
	$(CARGO) test --test blackbox -- --test-threads 2 abuse::
	@if command -v promtool >/dev/null && command -v prometheus >/dev/null; then \
		$(CARGO) test --test blackbox -- --test-threads $(TEST_THREADS) --ignored promtool_; \
	else echo "promtool or prometheus is not installed: their tests were ignored"; fi

test-static: ## As root: the static binary alone in an empty root, unprivileged, as PID 1
	PLEX_EXPORTER_BIN="$(CURDIR)/$$(.ci/static x86_64-unknown-linux-musl)" \
		$(CARGO) test --test blackbox -- --test-threads $(TEST_THREADS) --ignored contained_
	@# Pages and bodies at the limits, which take a debug build too long.
	PLEX_EXPORTER_BIN="$(CURDIR)/$$(.ci/static x86_64-unknown-linux-musl)" \
		$(CARGO) test --test blackbox -- --test-threads 5 --ignored memory_ cpu_

dashboard: ## Draw the dashboard with Grafana's own libraries, into target/dashboard, and check what a person would see
	@for tool in node npm chromium prometheus promtool; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then echo "the dashboard was not drawn: not installed:$$missing (Debian: apt-get install nodejs npm chromium prometheus)"; \
	else $(CARGO) build --quiet --bins --example evenings && \
		(cd tests/dashboard && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error) && node tests/dashboard/run.mjs; fi

lint: ## Formatting, warnings of the compiler and of clippy, links in the documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --quiet

deny: ## Licences, duplicate versions and sources of the dependencies (needs cargo-deny)
	@# It reads the packages of every platform, also those that no build here downloads.
	$(CARGO) fetch --locked --quiet
	$(TOOLS) $(CARGO) deny --offline --config .ci/deny.toml check licenses bans sources

lint-files: ## Scripts, workflows, Containerfile, manifests, each by the linter of its kind
	@.ci/lint-files

tools: ## The linters and packagers that the targets above need, in target/tools
	@.ci/tools

fmt: ## Format the sources
	$(CARGO) fmt

bench: ## Print what the static binary costs; PLEX_EXPORTER_BASE=<binary> compares it with that one
	PLEX_EXPORTER_BIN="$(CURDIR)/$$(.ci/static x86_64-unknown-linux-musl)" $(CARGO) bench --quiet --bench budgets

SOAK_DAYS ?= 30

soak: ## Live through SOAK_DAYS of simulated use
	SOAK_DAYS=$(SOAK_DAYS) $(CARGO) test --quiet --test soak -- --nocapture

FUZZ_TARGETS ?= state sessions notification clean_json head
# How long each target is fuzzed, in seconds.
FUZZ_SECONDS ?= 60
# Recorded responses to begin with, where there are any.
FUZZ_SEEDS ?= ../shared/fixtures

fuzz-build: ## Build the fuzz targets, without instrumentation
	$(CARGO) build --quiet --manifest-path tests/fuzz/Cargo.toml

# The coverage instrumentation is an unstable flag; nothing else needs a nightly compiler. There is
# no unsafe code here for an address sanitizer to watch.
fuzz: ## Fuzz each of FUZZ_TARGETS for FUZZ_SECONDS (needs cargo-fuzz)
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p tests/fuzz/corpus/$$target; \
		if [ -d "$(FUZZ_SEEDS)" ]; then seeds="$(FUZZ_SEEDS)"; else seeds=; echo "no seeds in $(FUZZ_SEEDS)"; fi; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir tests/fuzz --sanitizer none $$target \
			tests/fuzz/corpus/$$target $$seeds \
			-- -max_total_time=$(FUZZ_SECONDS) -timeout=20 -max_len=8192 -print_final_stats=1 || exit 1; \
	done

STATIC_TARGETS ?= x86_64-unknown-linux-musl

static: ## Fully static binaries for STATIC_TARGETS (aarch64-unknown-linux-musl, armv7-unknown-linux-musleabihf)
	@for target in $(STATIC_TARGETS); do .ci/static $$target || exit 1; done

dist: ## Static binaries, dashboard, rules, SBOM and checksums, in dist/
	@.ci/dist $(STATIC_TARGETS)

deb: ## Debian packages of the static binaries, in dist/ (needs cargo-deb: `make tools`)
	@$(TOOLS) .ci/deb $(STATIC_TARGETS)

test-deb: deb ## As root: install, use and purge the package in a fresh Debian root
	@.ci/test-deb "$$(ls dist/*_amd64.deb)"

ARM_TARGETS ?= aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf

test-arm: ## ARM_TARGETS under QEMU's emulation, and their packages (needs qemu-user-static and cross compilers)
	@for target in $(ARM_TARGETS); do $(TOOLS) .ci/test-arm $$target || exit 1; done

package: ## What crates.io would get, and an installation out of it
	@.ci/package

image: ## As root, with buildah: the image out of the static binary, and its own health check
	@.ci/image "$$(.ci/static x86_64-unknown-linux-musl)"

containerfile: ## As root, with buildah: the whole Containerfile on a base of Debian packages, and a comparison with `make static`
	@.ci/containerfile

install: ## Binary and systemd units, below DESTDIR and PREFIX; after `cargo build --release`, root needs no Rust
	[ -f target/release/plex-exporter ] || $(CARGO) build --release --quiet
	install -D -m 0755 target/release/plex-exporter "$(DESTDIR)$(PREFIX)/bin/plex-exporter"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	for unit in plex-exporter.service plex-exporter@.service; do \
		sed 's|/usr/local/bin|$(PREFIX)/bin|' "src/assets/$$unit" > "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit"; \
	done

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/plex-exporter" "$(DESTDIR)$(PREFIX)/lib/systemd/system/plex-exporter.service" \
		"$(DESTDIR)$(PREFIX)/lib/systemd/system/plex-exporter@.service"
