# granule's verbs. Each sets up by itself what it needs, the first time.
#
# A launch takes variables: BOARD=virt|raspi4b CPU=max CPUS=8 GIC=2 EL=2 MEM=8G NODES=2 LINEAR=4k,
# RUN="stress all secs=3 seed=1" for commands instead of the prompt, QEMU_ARGS="…" for the rest;
# LITMUS=FILE.litmus, or a folder of them, for `litmus run`;
# SANITIZE=1 for an image that watches its own translation, and then MUTANT=unmap-no-tlbi for a bug;
# RUN="zoo …" takes that image by itself.
# Make hands what is given on its command line to its recipes as environment; xtask reads it there.

CARGO := $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
XTASK  = $(CARGO) run --quiet --package xtask --

.PHONY: help run shell test mutants silent survivors bench check loom miri image soak symbols dtb fmt setup clean

help: ## this list (the default)
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-9s %s\n", $$1, $$2 }'
	@sed -n '3,7s/^# */  /p' $(firstword $(MAKEFILE_LIST))

run: ## boot, play the tour, stay at the prompt; with RUN="…" do that and power off
	@sh xtask/setup.sh run
	@$(XTASK) run

shell: ## boot straight to the prompt
	@sh xtask/setup.sh run
	@$(XTASK) shell

test: ## everything: host tests, lints, boots; ONLY="text" for the boots named so
	@sh xtask/setup.sh test
	@$(XTASK) test

mutants: ## who catches which known bug, tried now: ONLY="part of a name,…" QEMU=no, DOCS=1 keeps the table
	@sh xtask/setup.sh test
	@$(XTASK) mutants

silent: ## each workload on the model without a bug, both judges listening: STEPS=10000000 SEED=1 STRATEGY=random|pct|exhaustive
	@sh xtask/setup.sh test
	@$(XTASK) silent

survivors: ## small changes of kernel/pte and the TLB code that no test notices: ONLY=kernel/pte/src/plan.rs
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	@$(XTASK) survivors

bench: ## what the operations cost, beside Linux: ONLY=munmap CPUS=4, PROFILE=1 for where
	@sh xtask/setup.sh run
	@$(XTASK) bench

check: ## quick: formatting, lints, the rooms' rules
	@sh xtask/setup.sh build
	@$(XTASK) check

loom: ## every interleaving of the small lock-free protocols
	@sh xtask/setup.sh build
	@$(XTASK) loom

miri: ## the locks' tests under Miri; needs a nightly toolchain with miri and rust-src
	@MIRIFLAGS="-Zmiri-many-seeds=0..8 -Zmiri-preemption-rate=0.05" $(CARGO) +nightly miri test -p granule-sync

image: ## build the flat image, and the files for a real Pi's card
	@sh xtask/setup.sh build
	@$(XTASK) image

soak: ## stress the whole matrix with fresh seeds: MINUTES=60 SECS=10 SEED=1
	@sh xtask/setup.sh test
	@$(XTASK) soak

symbols: ## explain the backtraces in a serial log: make symbols <log
	@$(XTASK) symbolize

dtb: ## compile the boards' device trees (needs dtc)
	@$(XTASK) dtb

fmt: ## format the sources
	@$(CARGO) fmt --all

setup: ## only the set-up, every step checked anew
	@sh xtask/setup.sh test --anew

clean: ## remove what was built
	@$(CARGO) clean
