//! Which events: a conjunction of conditions on projected values.

mod cel;
mod condition;
mod decimal;
mod error;
mod operand;
mod parse;
mod short;
mod suggest;
mod window;

pub use condition::{Condition, Operator};
pub use error::FilterError;
pub use parse::parse;
pub use short::{code, namespace, resource, subject, verb};
pub use suggest::{field_like, unknown_field};
pub use window::{Window, time};

use self::cel::Expression;
use crate::decode::Record;

/// A window of time, conditions and expressions; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub window: Window,
    conditions: Vec<Condition>,
    expressions: Vec<Expression>,
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
    pub fn and_where(mut self, text: &str) -> Result<Filter, FilterError> {
        self.expressions.push(Expression::parse(text)?);
        Ok(self)
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
