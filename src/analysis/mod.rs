//! Questions to events. Each is a fold with a law, so files can be read in parts and in parallel.

pub mod access;
pub mod actions;
pub mod execs;
pub mod history;
pub mod judge;
pub mod policy_diff;
pub mod policy_subjects;
pub mod simulation;
pub mod stats;
pub mod traffic;

use crate::decode::Record;

/// A fold over records.
///
/// The report depends only on which records were observed: not on their order, nor on how they
/// were split between instances before `merge`. A clone of a fresh instance is a fresh instance.
///
/// ```
/// use kubectl_audit::{
///     analysis::Analysis, decode::{Projection, Record}, filter::Filter,
///     pipeline::{self, Reading}, source,
/// };
///
/// /// How many bytes the longest line has.
/// #[derive(Clone)]
/// struct Longest(usize);
///
/// impl Analysis for Longest {
///     type Report = usize;
///     fn observe(&mut self, record: &Record<'_>) {
///         self.0 = self.0.max(record.line().len());
///     }
///     fn merge(&mut self, other: Self) {
///         self.0 = self.0.max(other.0);
///     }
///     fn finish(self) -> usize {
///         self.0
///     }
/// }
///
/// let logs = source::find(&["examples/audit.log".into()]).logs;
/// let (projection, all) = (Projection::default(), Filter::default());
/// let folded = pipeline::fold(&logs, &Reading::default(), &projection, &all, Longest(0));
/// assert!(folded.report > 1_000);
/// ```
pub trait Analysis: Clone + Send {
    type Report;
    fn observe(&mut self, record: &Record<'_>);
    fn merge(&mut self, other: Self);
    fn finish(self) -> Self::Report;
}

/// Two questions to the same records.
impl<A: Analysis, B: Analysis> Analysis for (A, B) {
    type Report = (A::Report, B::Report);

    fn observe(&mut self, record: &Record<'_>) {
        self.0.observe(record);
        self.1.observe(record);
    }

    fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
        self.1.merge(other.1);
    }

    fn finish(self) -> Self::Report {
        (self.0.finish(), self.1.finish())
    }
}
