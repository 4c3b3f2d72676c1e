//! Which events: a conjunction of conditions on projected values.

mod cel;
mod condition;
mod decimal;
mod error;
mod operand;
mod parse;
mod short;
mod suggest;
mod watch;
mod window;

pub use condition::{Condition, Operator};
pub use error::FilterError;
pub use parse::{parse, parse_watched};
pub use short::{code, namespace, no_dry_run, resource, slower_than, subject, verb, watches};
pub use suggest::{field_like, unknown_field};
pub use watch::{Notice, Noticed, Watch};
pub use window::{Window, time};

use self::cel::Expression;
use crate::decode::{Projection, Record};

/// A window of time, conditions and expressions; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub window: Window,
    conditions: Vec<Condition>,
    expressions: Vec<Expression>,
    watches: Vec<Watch>,
}

impl Filter {
    /// All events of a window.
    pub fn within(window: Window) -> Filter {
        Filter { window, ..Filter::default() }
    }

    #[must_use]
    pub fn and(mut self, condition: Condition) -> Filter {
        self.conditions.push(condition);
        self
    }

    /// Adds an expression of the Common Expression Language over `event`.
    ///
    /// # Errors
    /// If it is none, or cannot be true or false.
    pub fn and_where(
        mut self,
        text: &str,
        projection: &mut Projection,
    ) -> Result<Filter, FilterError> {
        self.expressions.push(Expression::parse(text, projection)?);
        Ok(self)
    }

    /// Has a name of the question looked for in every event that is read.
    pub fn watch(&mut self, watch: Watch) {
        self.watches.push(watch);
    }

    /// All events, with the same names looked for.
    #[must_use]
    pub fn only_watching(&self) -> Filter {
        Filter { watches: self.watches.clone(), ..Filter::default() }
    }

    pub fn watches(&self) -> &[Watch] {
        &self.watches
    }

    #[inline]
    pub fn matches(&self, record: &Record<'_>) -> bool {
        self.window.contains(record.stage_timestamp())
            && self.conditions.iter().all(|it| it.holds(record))
            && self.expressions.iter().all(|it| it.holds(record))
    }
}

#[cfg(test)]
mod tests;
