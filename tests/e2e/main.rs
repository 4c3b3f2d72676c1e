//! End-to-end tests: what the program says about a cluster, against what was really done there.
//!
//! `tests/e2e/run` starts a control plane and runs them inside its namespaces. A test is a function
//! with `#[ignore = "needs the control plane of tests/e2e"]`; `Story::told()` gives it the story that is
//! played once for all of them, `cluster` the programs to run.

mod cluster;
mod completion;
mod connections;
mod doctor;
mod examples;
mod execs;
mod fetch;
mod follow;
mod history;
mod nodes;
mod rbac;
mod restart;
mod stats;
mod story;
mod trust;
