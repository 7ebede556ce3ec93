# The two commands for a newcomer are `make demo` and `make test`; both install the Debian packages
# that they need. See CONTRIBUTING.md for the ladder of tests.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
STATIC_TARGET := x86_64-unknown-linux-gnu
# Set it to a folder outside the clone and a second clone builds in a fraction of the time.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

packages: ## Install the Debian packages that building and testing need
	@scripts/packages

build: packages
	cargo build

demo: build ## A counter migrates between two real hosts on this machine
	@scripts/demo

check: packages ## Format, and clippy with warnings as errors
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings

unit: packages ## Everything that needs no lab
	cargo test --workspace --exclude lab --exclude transship
	cargo test -p lab --lib --bins
	cargo test -p transship --bins --test schemas --test cli --test fakes

e2e: packages ## Everything that needs real hosts: the lab, and what runs in it
	@scripts/e2e

test: check unit e2e dist ## Everything
	@echo "All tests passed."

dist: packages ## The static binary, dist/transship
	RUSTFLAGS="-C target-feature=+crt-static" OPENSSL_STATIC=1 \
		cargo build --release --target $(STATIC_TARGET) --bin transship
	mkdir -p dist
	cp "$$CARGO_TARGET_DIR/$(STATIC_TARGET)/release/transship" dist/transship
	@scripts/check-dist dist/transship

.PHONY: help packages build demo check unit e2e test dist
