//! Questions to Kubernetes audit logs.
pub mod analysis;
pub mod cli;
pub mod cluster;
pub mod decode;
pub mod event;
pub mod filter;
pub mod output;
pub mod pipeline;
pub mod report;
pub mod source;
