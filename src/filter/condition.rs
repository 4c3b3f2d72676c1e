//! One condition on the values of a key.

use std::cmp::Ordering;

use super::operand::{Operand, text};
use crate::{
    decode::{Lookup, Record, Slot, Values, duration},
    event::Json,
};

/// What must hold of a record.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Of the values of a key.
    Key(Lookup, Operator),
    /// Of how long the request took: more microseconds than this from received (the slot) to its end.
    SlowerThan(Slot, u64),
    /// At least one of these.
    Any(Vec<Condition>),
    /// All of these.
    All(Vec<Condition>),
}

/// What must hold of a value. Where a key leads through a list of objects to several values, it must
/// hold of one of them.
#[derive(Debug, Clone)]
pub struct Operator(pub(super) Test);

#[derive(Debug, Clone)]
pub(super) enum Test {
    Present,
    Absent,
    Is(Operand),
    IsNot(Operand),
    /// Compares in one of these ways: less, equal, greater.
    Compares([bool; 3], Operand),
    Contains(Operand),
    ContainsNot(Operand),
    Matches(regex::bytes::Regex),
    MatchesNot(regex::bytes::Regex),
    In(Vec<Operand>),
    NotIn(Vec<Operand>),
}

impl Operator {
    /// Equals this text.
    pub fn is(text: &str) -> Operator {
        Operator(Test::Is(Operand::new(text)))
    }

    /// Has a value.
    pub fn is_present() -> Operator {
        Operator(Test::Present)
    }

    fn holds(&self, values: &Values<'_>) -> bool {
        match values {
            Values::None => self.0.holds_for_absent(),
            Values::One(json) => self.0.holds(*json),
            Values::Many(all) => all.iter().any(|json| self.0.holds(*json)),
        }
    }
}

impl Condition {
    #[inline]
    pub fn holds(&self, record: &Record<'_>) -> bool {
        match self {
            Condition::Key(lookup, operator) => {
                let plain = lookup.plain_text(record);
                let of_text = plain.and_then(|(text, len)| operator.0.holds_for_text(&text[..len]));
                of_text.unwrap_or_else(|| lookup.with(record, |values| operator.holds(values)))
            }
            Condition::SlowerThan(received, micros) => {
                duration(record, *received).is_some_and(|it| it > *micros)
            }
            Condition::Any(conditions) => conditions.iter().any(|it| it.holds(record)),
            Condition::All(conditions) => conditions.iter().all(|it| it.holds(record)),
        }
    }
}

impl Test {
    /// Negative operators hold for an absent key, orders never, and an absent key equals an empty text.
    pub(super) fn holds_for_absent(&self) -> bool {
        match self {
            Test::Absent | Test::ContainsNot(_) | Test::MatchesNot(_) => true,
            Test::Is(operand) => operand.is_empty(),
            Test::IsNot(operand) => !operand.is_empty(),
            Test::In(operands) => operands.iter().any(Operand::is_empty),
            Test::NotIn(operands) => !operands.iter().any(Operand::is_empty),
            Test::Present | Test::Compares(..) | Test::Contains(_) | Test::Matches(_) => false,
        }
    }

    /// The same as [`holds`](Test::holds) for a text without escapes, where comparing its bytes is all.
    #[inline]
    fn holds_for_text(&self, text: &[u8]) -> Option<bool> {
        match self {
            Test::Is(operand) => operand.is_text(text),
            Test::IsNot(operand) => Some(!operand.is_text(text)?),
            Test::In(operands) => {
                operands.iter().try_fold(false, |found, it| Some(found | it.is_text(text)?))
            }
            _ => None,
        }
    }

    #[inline]
    fn holds(&self, json: Json<'_>) -> bool {
        match self {
            Test::Present => true,
            Test::Absent => false,
            Test::Is(operand) => operand.is(json),
            Test::IsNot(operand) => !operand.is(json),
            Test::Compares(ways, operand) => match operand.order(json) {
                Ordering::Less => ways[0],
                Ordering::Equal => ways[1],
                Ordering::Greater => ways[2],
            },
            Test::Contains(operand) => operand.is_in(json),
            Test::ContainsNot(operand) => !operand.is_in(json),
            Test::Matches(regex) => regex.is_match(&text(json)),
            Test::MatchesNot(regex) => !regex.is_match(&text(json)),
            Test::In(operands) => operands.iter().any(|it| it.is(json)),
            Test::NotIn(operands) => !operands.iter().any(|it| it.is(json)),
        }
    }
}
