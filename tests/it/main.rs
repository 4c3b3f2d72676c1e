//! Tests of the whole, in one binary.

#![allow(clippy::unwrap_used)]

mod sources;
mod tidy;
