# Causeway. `make help` lists the targets; README.md shows what they print.
.DEFAULT_GOAL := help
.PHONY: help run test soak check image gates bench bench-native idle lifecycle hosts channel advance hostile shell sim fuzz clean

IMAGES := relay echo bench mclient hostile selftest
BUILT  := target/x86_64-unknown-linux-gnu/image
FUZZ_SECONDS ?= 60
SEEDS ?= 100000
FROM ?= 0

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: FUZZ_SECONDS for fuzz, SEEDS and FROM for sim. 'cargo lab --help' runs single scenarios."

run: ## the main job: boot Xen, relay real mail, migrate the relay live meanwhile
	cargo lab run

test: ## all tests, on the host and on real Xen; ends in "N passed, N failed"
	cargo lab suite

soak: ## the same kinds of tests, repeated for some hours; ends in "N passed, N failed"
	cargo lab suite --soak

check: ## formatting, lints, documentation, image gates
	cargo lab tools
	cargo fmt --all --check
	cargo clippy --workspace $(IMAGES:%=--exclude %) --all-targets -- -D warnings
	cargo --config linker/image.toml clippy --profile image $(IMAGES:%=-p %) -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace $(IMAGES:%=--exclude %) --no-deps --document-private-items
	$(MAKE) --no-print-directory gates

image: ## build the guest images, in target/image/
	cargo --config linker/image.toml build --profile image $(IMAGES:%=-p %)
	mkdir -p target/image
	for name in $(IMAGES); do strip -o target/image/$$name $(BUILT)/$$name || exit 1; done

gates: image ## check that the images are freestanding, and show their sizes
	linker/gates.sh $(IMAGES:%=$(BUILT)/%)
	wc -c $(IMAGES:%=target/image/%)

bench: bench-native ## figures of guests in virtual time, beside a Linux domU's, after bench-native
	cargo lab bench --virtual-time

bench-native: ## figures of the channel's ring on this machine, beside loopback TCP, in wall-clock time
	cargo run --release --package ringbench

idle: ## processor time that idle guests use in a minute
	cargo lab idle --virtual-time

lifecycle: ## save, restore and migrate under traffic, in virtual time, beside a Linux domU
	cargo lab lifecycle --virtual-time

hosts: ## live migration between two hosts, each a QEMU of its own
	cargo lab hosts

channel: ## shared memory, netfront and Linux side by side, in virtual time
	cargo lab channel --virtual-time

advance: ## migrations under a saturating stream, in each mode of the channel, in virtual time
	cargo lab advance --virtual-time

hostile: ## one guest attacks another through the channel's protocol, on real Xen
	cargo lab hostile

shell: image ## an interactive dom0 with the images in /lab/images
	cargo lab shell $(IMAGES:%=target/image/%)

sim: ## SEEDS=100000 seeds of the channel's simulator, from FROM=0 on
	cargo run --release -p sim -- --seeds $(SEEDS) --from $(FROM)

# Findings go to target/fuzz; the corpus in the repository is only the start.
fuzz: ## fuzz SMTP and the channel for FUZZ_SECONDS=60 a target (needs nightly and cargo-fuzz)
	@cargo +nightly fuzz --version >/dev/null || { echo "fuzzing needs: rustup toolchain install nightly && cargo install cargo-fuzz" >&2; exit 1; }
	for target in $$(cargo +nightly fuzz list --fuzz-dir tests/fuzz); do \
		mkdir -p target/fuzz/$$target; \
		cargo +nightly fuzz run $$target --fuzz-dir tests/fuzz \
			target/fuzz/$$target tests/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

clean: ## remove everything built, downloads included
	cargo clean
