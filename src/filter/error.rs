//! What is wrong with a filter, and where.

use std::fmt;

/// A filter, time or expression that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// What cannot be read: a filter, a time.
    pub what: &'static str,
    /// The flag's value as it was given.
    pub text: String,
    /// The byte of it that the caret points at.
    pub at: usize,
    pub reason: String,
    pub hint: Option<&'static str>,
}

impl FilterError {
    pub(super) fn new(text: &str, at: usize, reason: impl Into<String>) -> FilterError {
        FilterError {
            what: "filter",
            text: text.to_owned(),
            at: at.min(text.len()),
            reason: reason.into(),
            hint: None,
        }
    }

    /// The same of a time.
    #[must_use]
    pub(super) fn of_time(mut self) -> FilterError {
        self.what = "time";
        self
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: &'static str) -> FilterError {
        self.hint = Some(hint);
        self
    }
}

impl fmt::Display for FilterError {
    /// The reason, and the text with a caret under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |text: &str| {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
        };
        let before = self.text.get(..self.at).unwrap_or_default();
        let indent = unicode_width::UnicodeWidthStr::width(show(before).as_str());
        write!(
            f,
            "cannot read this {}: {}\n  {}\n  {:indent$}^",
            self.what,
            self.reason,
            show(&self.text),
            ""
        )
    }
}

impl std::error::Error for FilterError {}
