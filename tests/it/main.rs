//! Tests of the whole, in one binary.

#![allow(clippy::unwrap_used)]

mod completion;
mod corpus;
mod events;
mod execs;
mod guide;
mod help;
mod sources;
mod support;
mod tidy;
