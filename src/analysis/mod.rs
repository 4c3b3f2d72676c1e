//! Questions to events. Each is a fold with a law, so files can be read in parts and in parallel.

pub mod access;
pub mod execs;
pub mod simulation;
pub mod stats;

use crate::decode::Record;

/// A fold over records.
///
/// The report depends only on which records were observed: not on their order, nor on how they
/// were split between instances before `merge`. A clone of a fresh instance is a fresh instance.
pub trait Analysis: Clone + Send {
    type Report;
    fn observe(&mut self, record: &Record<'_>);
    fn merge(&mut self, other: Self);
    fn finish(self) -> Self::Report;
}
