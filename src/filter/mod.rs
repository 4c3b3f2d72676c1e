//! Which events: a conjunction of conditions on projected values.

mod window;

pub use window::Window;

use crate::decode::Record;

/// A window of time and conditions; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub window: Window,
}

impl Filter {
    pub fn matches(&self, record: &Record<'_>) -> bool {
        self.window.contains(record.stage_timestamp())
    }
}
