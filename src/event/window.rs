//! A span of time.

use super::Timestamp;

/// From `since` to `until`, both inclusive, each open if absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Window {
    /// Whether a time is within. An unknown time is within only an open window.
    #[inline]
    pub fn contains(self, time: Option<Timestamp>) -> bool {
        let Some(time) = time else { return self == Window::default() };
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}
