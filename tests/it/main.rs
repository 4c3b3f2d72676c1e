//! Tests of the whole, in one binary.

#![allow(clippy::unwrap_used)]

mod actions;
mod asking;
mod bad_input;
mod checklist;
#[cfg(unix)]
mod ci;
mod completion;
mod corpus;
mod events;
mod execs;
#[cfg(unix)]
mod fetching;
mod findings;
mod guide;
mod help;
mod history;
#[cfg(unix)]
mod krew;
mod origin;
mod policies;
mod recording;
mod security;
mod sessions;
mod sources;
mod stats;
mod support;
mod tidy;
mod wild;
