//! Tests of the whole, in one binary.

mod sources;
mod tidy;
