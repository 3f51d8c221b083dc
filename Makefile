# The developer's menu. `make test` is all that CI runs; it needs Debian or Ubuntu and Rust from rustup, and installs the rest.
# The tests run as root, by sudo if need be: some log in to sshd as a user that they make. The build never does.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.PHONY: test tests backup-size layout-tools frameworks no-image release-dry-run lint lint-workflows fmt demo image bench peers soak \
	soak-container fuzz setup

export PATH := $(PATH):$(HOME)/.cargo/bin
# A change must not fail by the luck of the draw of another: `PROPTEST_RNG_SEED=$RANDOM make test` draws anew.
export PROPTEST_RNG_SEED ?= 1
# Tests wait for servers more than they work.
export RUST_TEST_THREADS ?= $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))

test: setup ## Lint (where clippy and rustfmt are installed), then the whole suite.
	@# Much of an image's time is not the processor's.
	@$(MAKE) --no-print-directory --jobs tests \
		$(shell $(AS_ROOT) docker version >/dev/null 2>&1 && echo image || echo no-image)
	runner="CARGO_TARGET_$$(rustc --print host-tuple | tr a-z- A-Z_)_RUNNER"; \
	env $(if $(AS_ROOT),"$$runner=$(AS_ROOT) -E") cargo test --locked

tests: setup ## Lint, and the tests built.
	@if cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory lint; \
	else \
		echo "make test: lint left out, clippy or rustfmt is not installed (rustup component add clippy rustfmt)"; \
	fi
	@if tests/workflows/install.sh; then \
		$(MAKE) --no-print-directory lint-workflows; \
	else \
		echo "make test: lint-workflows left out, its validators can't be installed from PyPI"; \
	fi
	cargo test --locked --no-run

no-image:
	@echo "make test: the Docker engine does not answer, so no image is built, and the container tests will fail" >&2

lint: ## Format and lints; a warning is an error.
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

lint-workflows: ## Validators for our workflows and the examples, each of which has to find its mutants; installs them from PyPI.
	tests/workflows/install.sh
	tests/workflows/lint.sh
	tests/workflows/mutants.sh

fmt: ## Formats the code.
	cargo fmt

demo: setup ## A throwaway bastion and database, and two runs of the action against them.
	cargo build --locked
	cargo run --locked --quiet --example demo

image: setup ## Builds the image as `bastion-migrate:dev`, and what the container tests need; PROFILE=release compiles it as for a release.
	$(AS_ROOT) env "PATH=$$PATH" "HOME=$$HOME" $(if $(SOAK),SOAK=1) $(if $(PROFILE),PROFILE=$(PROFILE)) tests/container/image.sh

# Not part of `test`: both architectures are compiled as for a release. `PORT` is the registry's.
release-dry-run: setup ## Makes a release of HEAD into a registry on this machine, and checks it; ends after 30 minutes at the latest.
	timeout --kill-after=30 1800 $(AS_ROOT) env "PATH=$$PATH" "HOME=$$HOME" tests/release/dry-run.sh

# The debug build: it checks its arithmetic, and it is built in seconds. BINARY=path takes another one.
soak: setup ## Random kills and cancels, each judged: KILLS=1000 CANCELS=300 MINUTES=60 SEED=… ROUND=kill-17 AFTER=kills/cancels LAYOUT=goose ROOM=steps|tenants|rehearsal BINARY=path.
	cargo build --locked
	$(if $(BINARY),BASTION_MIGRATE=$(abspath $(BINARY))) cargo run --locked --quiet --example soak -- \
		$(foreach name,seed kills cancels minutes round after layout room,$(call given,$(name)))

# The engine is used as root, as the tests use it.
soak-container: SOAK := 1
soak-container: PROFILE ?= release
soak-container: image ## The same with the real image, as the runner runs it: KILLS=300 CANCELS=100 MINUTES=60 SEED=… ROUND=kill-17 AFTER=kills/cancels ROOM=sql|image|server|tunnel|backup.
	cargo build --locked --example soak
	$(AS_ROOT) target/debug/examples/soak --containers --kills $(or $(KILLS),300) --cancels $(or $(CANCELS),100) \
		$(foreach name,seed minutes round after,$(call given,$(name))) $(if $(ROOM),--container-room $(ROOM))

given = $(if $($(shell tr a-z A-Z <<<$(1))),--$(1) $($(shell tr a-z A-Z <<<$(1))))

# `setup` does not ask for what the servers of the suite need: nothing is run but the targets.
fuzz: setup ## Looks for an input that breaks what should hold of any: MINUTES=10 for each target, ONLY="url startup" for some.
	tests/fuzz/run.sh

bench: setup $(if $(or $(findstring files,$(ONLY)),$(if $(ONLY),,all)),peers) ## What a run costs, beside its peers; ONLY="tunnel start" does a part; OLDER=path compares with an older build.
	cargo build --release --locked
	$(if $(OLDER),OLDER=$(abspath $(OLDER))) cargo run --release --locked --quiet --example bench -- $(ONLY)

# Not part of `test`: the tools take minutes to compile.
layout-tools: setup peers ## Round trips of layouts with the tools that they belong to: sqlx, Diesel, refinery.
	$(AS_ROOT) env "PATH=$$PATH" "HOME=$$HOME" cargo test --locked --test suite -- --include-ignored layout_tools

# Not part of `test`: the packages take minutes to install.
frameworks: NEEDS += rails:ruby-rails,ruby-pg php:php-cli,php-pgsql,php-laravel-framework
frameworks: setup ## Real apps of Rails and Laravel: their starts and rehearsals.
	$(AS_ROOT) env "PATH=$$PATH" "HOME=$$HOME" cargo test --locked --test suite -- --include-ignored frameworks::

# Not part of `test`: takes minutes, and 20 GB of disk in TMPDIR, which it frees again.
backup-size: setup ## A backup of 5 GB: the memory that it takes, and that its restore equals the original.
	timeout --kill-after=30 3600 $(AS_ROOT) env "PATH=$$PATH" "HOME=$$HOME" \
		cargo test --locked --test suite -- --include-ignored --nocapture large_backup

# The tools that `make bench` compares with, built once. diesel_cli needs libpq.
PEERS := target/peers/bin
peers: $(PEERS)/diesel $(PEERS)/sqlx $(PEERS)/refinery
bench peers layout-tools: NEEDS += pg_config:libpq-dev
$(PEERS)/diesel: | setup
	cargo install --locked --root target/peers diesel_cli --version 2.3.14 --no-default-features --features postgres
$(PEERS)/sqlx: | setup
	cargo install --locked --root target/peers sqlx-cli --version 0.9.0 --no-default-features --features postgres,rustls
$(PEERS)/refinery: | setup
	cargo install --locked --root target/peers refinery_cli --version 0.10.0 --no-default-features --features postgresql

# program:packages-that-have-it; servers may lie outside of an ordinary PATH.
NEEDS := initdb:postgresql psql:postgresql-client sshd:openssh-server ssh-keygen:openssh-client pgbouncer:pgbouncer \
	cc:gcc,libc6-dev perl:perl pkg-config:pkg-config setpriv:util-linux useradd:passwd sshpass:sshpass \
	puttygen:putty-tools openssl:openssl \
	docker:docker.io debootstrap:debootstrap,debian-archive-keyring \
	busybox:busybox tcsh:tcsh fish:fish ps:procps pip3:python3-pip \
	age:age git:git jq:jq curl:curl readelf:binutils socat:socat danted:dante-server tinyproxy:tinyproxy
fuzz: NEEDS := cc:gcc,libc6-dev c++:g++ perl:perl pkg-config:pkg-config
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

setup: ## Installs what the build and the suite need; says nothing when all is there.
	@if ! command -v cargo >/dev/null; then echo "make: Rust is missing, see https://rustup.rs" >&2; exit 1; fi; \
	if [[ "$(AS_ROOT)" && ! -x "$$(command -v sudo)" ]]; then \
		echo "make: needs sudo, or to be root: it installs packages, and the tests start servers with users of their own" >&2; exit 1; \
	fi; \
	shopt -s nullglob; \
	for bin in /usr/sbin /usr/local/sbin /usr/lib/postgresql/*/bin; do PATH="$$PATH:$$bin"; done; \
	packages=(); \
	for need in $(NEEDS); do \
		if ! command -v "$${need%%:*}" >/dev/null; then packages+=($$(tr , ' ' <<<"$${need#*:}")); fi; \
	done; \
	if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then packages+=(python3-venv); fi; \
	if (( $${#packages[@]} )); then \
		echo "make setup: installing $${packages[*]}"; \
		$(AS_ROOT) apt-get update -qq; \
		$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${packages[@]}"; \
	fi
