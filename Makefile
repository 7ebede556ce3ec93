# The two commands for a newcomer are `make demo` and `make test`; both install the Debian packages
# that they need. See CONTRIBUTING.md for the ladder of tests.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
STATIC_TARGET := x86_64-unknown-linux-gnu
# Static, and small. Relative relocations are packed: a megabyte of them in a static PIE. Equal functions are
# folded. libssh2 needs only libcrypto; ssh2 starts OpenSSL through OPENSSL_init_ssl, whose arguments and effect on
# libcrypto are those of OPENSSL_init_crypto, so that libssl, which nothing else calls, stays out. For the curve P-256
# libcrypto has two methods; the quicker one, with a table of 150 kB, is left out.
STATIC_FLAGS := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs,--icf=all \
	-C link-arg=-Wl,--defsym=OPENSSL_init_ssl=OPENSSL_init_crypto \
	-C link-arg=-Wl,--defsym=EC_GFp_nistz256_method=EC_GFp_nistp256_method \
	-C link-arg=-Wl,--defsym=EC_nistz256_pre_comp_dup=EC_nistp256_pre_comp_dup \
	-C link-arg=-Wl,--defsym=EC_nistz256_pre_comp_free=EC_nistp256_pre_comp_free
# Of zstd only its quickest level is used: the other match finders, the decoder's variants and its error texts stay out;
# and what describes frames of C for unwinding.
C_FLAGS := $(foreach way,DFAST GREEDY LAZY LAZY2 BTLAZY2 BTOPT BTULTRA,-DZSTD_EXCLUDE_$(way)_BLOCK_COMPRESSOR) \
	-DHUF_FORCE_DECOMPRESS_X1 -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT -DZSTD_STRIP_ERROR_STRINGS=1 -DDYNAMIC_BMI2=0 \
	-fno-asynchronous-unwind-tables
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

check: packages ## Format, clippy with warnings as errors, ansible-lint, how tests are tried again
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	@scripts/check-ansible
	@scripts/check-cargo-test

unit: packages ## Everything that needs no lab
	@rm -f "$$CARGO_TARGET_DIR/second-go"
	scripts/cargo-test --workspace --exclude lab --exclude transship
	scripts/cargo-test -p lab --lib --bins
	scripts/cargo-test -p transship --bins --test schemas --test cli --test fakes

e2e: packages ## Everything that needs real hosts: the lab, and what runs in it
	@scripts/e2e

soak: build ## A container moves back and forth 200 times (TURNS=N), and no number is lost
	TRANSSHIP_TEST_LAB=1 TRANSSHIP_SOAK=$(or $(TURNS),200) cargo test --test copy a_counter_goes_on

bench: dist ## What migrations take, between two hosts of the lab (SIZES=1M,64M RUNS=5 LINKS=lan,zigbee TCP=1 ENGINE=podman OUT=FOLDER)
	@scripts/bench

vagrant-test: dist ## Virtual machines: provisioned from bare, then a container moves between them
	@scripts/vagrant-test

# Nobody gets QEMU and Vagrant who did not ask for them.
test: check unit dist $(if $(TRANSSHIP_TEST_VM),vagrant-test,vagrant-skipped) e2e ## Everything
	@if [ -e "$$CARGO_TARGET_DIR/second-go" ]; then \
		echo "NOT RELIABLE, passed only the second time:"; cat "$$CARGO_TARGET_DIR/second-go"; \
	fi >&2
	@echo "All tests passed."

vagrant-skipped:
	@echo "SKIPPED: the virtual machines; they install QEMU, libvirt and Vagrant: make vagrant-test, or TRANSSHIP_TEST_VM=1 make test" >&2

# Nothing unwinds through OpenSSL or libc: what describes their frames for that is left out.
dist: packages ## The static binary, dist/transship
	mkdir -p "$$CARGO_TARGET_DIR/static"
	for library in libssl libcrypto libc; do \
		objcopy -R .eh_frame -R .rela.eh_frame "$$(gcc -print-file-name=$$library.a)" "$$CARGO_TARGET_DIR/static/$$library.a"; \
	done
	RUSTFLAGS="$(STATIC_FLAGS) -L native=$$CARGO_TARGET_DIR/static" CFLAGS_x86_64_unknown_linux_gnu="$(C_FLAGS)" \
		OPENSSL_STATIC=1 OPENSSL_INCLUDE_DIR=/usr/include OPENSSL_LIB_DIR="$$CARGO_TARGET_DIR/static" \
		cargo build --release --target $(STATIC_TARGET) --bin transship
	mkdir -p dist
	cp "$$CARGO_TARGET_DIR/$(STATIC_TARGET)/release/transship" dist/transship
	@scripts/check-dist dist/transship

.PHONY: help packages build demo check unit e2e soak bench test dist vagrant-test vagrant-skipped
