//! Questions to Kubernetes audit logs: the library behind `kubectl audit`.
//!
//! ```text
//! source ──bytes──▶ decode ──Record──▶ filter ──Record──▶ analysis ──Report──▶ output
//! ```
//!
//! Filter and analysis ask a [`Projection`](decode::Projection) for the keys they want; the
//! [`pipeline`] reads just those, on all cores, and folds them into a report. There is no promise
//! of a stable interface before version 1.0.
//!
//! ```
//! use kubectl_audit::{
//!     analysis::stats::{Question, Stats},
//!     decode::Projection,
//!     filter::{self, Filter},
//!     pipeline::{self, Reading},
//!     source,
//! };
//!
//! let mut projection = Projection::default();
//! let filter = Filter::default().and(filter::parse("responseStatus.code>=400", &mut projection)?);
//! let question = Question { keys: vec!["user.username".parse()?], ..Question::default() };
//! let stats = Stats::new(question, &mut projection);
//! let logs = source::find(&["examples/audit.log".into()]).logs;
//! let folded = pipeline::fold(&logs, &Reading::default(), &projection, &filter, stats);
//! assert_eq!(folded.report.rows[0].key, [Some("alice".to_owned())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod analysis;
pub mod cli;
pub mod cluster;
pub mod decode;
pub mod event;
pub mod filter;
pub mod output;
pub mod pipeline;
pub mod policy;
pub mod rbac;
pub mod report;
pub mod source;
