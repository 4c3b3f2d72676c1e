//! The only loops over events: logs in, a report out. Knows nothing of what is computed.

mod chunk;
mod each;
mod fold;
mod follow;
mod merge;
mod own;
mod progress;
mod queue;
mod tally;
mod unique;
mod worker;

pub use crate::source::Skip;
pub use each::{each, map};
pub use fold::{Folded, Reading, fold};
pub use follow::{Followed, Stop, Watcher, follow};
pub use progress::Progress;
