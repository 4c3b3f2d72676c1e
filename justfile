# What developers do; `just --list` shows it.

build:
    cargo build --release

test:
    cargo test --workspace

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

# After a wanted change of output: writes README and guide anew; read the difference
overwrite:
    TRYCMD=overwrite cargo test --test it guide

bench:
    cargo bench

# One target of fuzz/fuzz_targets for so many seconds; needs cargo-fuzz and a nightly Rust
fuzz TARGET SECONDS="60":
    mkdir -p fuzz/work/{{TARGET}}
    cargo +nightly fuzz run {{TARGET}} fuzz/work/{{TARGET}} fuzz/corpus/{{TARGET}} -- -max_total_time={{SECONDS}} -max_len=8192

e2e:
    bash tests/e2e/run

ci:
    bash .ci/run

# A release in dist/: archives, sums, bill of materials; then run and compared (see krew/README.md)
release *TARGETS:
    krew/build {{TARGETS}}
    krew/verify

# The archive of this machine, as krew's reviewers install it
krew-install:
    krew/install-local

# The same into an empty folder, with kubectl, completion and man
walk:
    krew/walk

man FOLDER="target/man":
    cargo run --quiet --example man_pages -- {{FOLDER}}
