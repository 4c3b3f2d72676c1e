# What developers do; `just --list` shows it.

build:
    cargo build --release

test:
    cargo test

lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

# After a wanted change of output: writes README and guide anew; read the difference
overwrite:
    TRYCMD=overwrite cargo test --test it guide

bench:
    cargo bench

# One target for so many seconds: readers, filter, request_uri, unwrap
fuzz TARGET SECONDS="60":
    cargo +nightly fuzz run {{TARGET}} -- -max_total_time={{SECONDS}}

e2e:
    bash tests/e2e/run

ci:
    bash .ci/run
