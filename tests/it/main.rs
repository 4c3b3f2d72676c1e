//! Tests of the whole, in one binary.

#![allow(clippy::unwrap_used)]

mod asking;
mod bad_input;
mod checklist;
#[cfg(unix)]
mod ci;
mod completion;
mod corpus;
mod events;
mod execs;
mod findings;
mod guide;
mod help;
mod history;
#[cfg(unix)]
mod krew;
mod recording;
mod security;
mod sources;
mod stats;
mod support;
mod tidy;
