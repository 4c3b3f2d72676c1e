//! The value in a condition, read once as all it may mean, and compared with an event's.

use std::{borrow::Cow, cmp::Ordering};

use super::window;
use crate::event::{Json, Kind, Timestamp};

/// A value that a person wrote.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    text: Box<[u8]>,
    number: Option<Number>,
    time: Option<Timestamp>,
}

/// A number, exact as long as it is an integer that fits.
#[derive(Debug, Clone, Copy)]
enum Number {
    Integer(i128),
    Real(f64),
}

impl Number {
    /// Numbers as JSON writes them.
    fn parse(text: &[u8]) -> Option<Number> {
        let first = *text.first()?;
        if text.len() > 64 || !(first.is_ascii_digit() || first == b'-') {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
            return None;
        }
        if digits.bytes().all(|it| it.is_ascii_digit()) && !digits.is_empty() {
            return text
                .parse()
                .map(Number::Integer)
                .ok()
                .or_else(|| text.parse().map(Number::Real).ok());
        }
        if !digits.ends_with(|c: char| c.is_ascii_digit())
            || digits.contains(['i', 'n', 'N', 'I', '_'])
        {
            return None;
        }
        text.parse().map(Number::Real).ok()
    }

    fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => Some(a.cmp(&b)),
            (a, b) => a.as_real().partial_cmp(&b.as_real()),
        }
    }

    fn as_real(self) -> f64 {
        match self {
            Number::Integer(it) => it as f64,
            Number::Real(it) => it,
        }
    }
}

impl Operand {
    pub(super) fn new(text: &str) -> Operand {
        let time = Timestamp::parse(text.as_bytes()).or_else(|| window::calendar(text));
        Operand { number: Number::parse(text.as_bytes()), time, text: text.as_bytes().into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// How an event's value compares: as numbers or times where both are, else as text.
    #[inline]
    pub(super) fn order(&self, json: Json<'_>) -> Ordering {
        self.order_text(&text(json))
    }

    fn order_text(&self, text: &[u8]) -> Ordering {
        if let Some(mine) = self.number
            && let Some(order) = Number::parse(text).and_then(|its| its.compare(mine))
        {
            return order;
        }
        if let Some(mine) = self.time
            && let Some(its) = Timestamp::parse(text)
        {
            return its.cmp(&mine);
        }
        text.cmp(&self.text)
    }

    /// Whether an event's value is this one.
    #[inline]
    pub(super) fn is(&self, json: Json<'_>) -> bool {
        let text = text(json);
        let is_same = *text == *self.text;
        is_same
            || ((self.number.is_some() || self.time.is_some())
                && self.order_text(&text) == Ordering::Equal)
    }

    /// Whether an event's list has this element, or its text this part.
    pub(super) fn is_in(&self, json: Json<'_>) -> bool {
        match json.kind() {
            Kind::List => json.elements().into_iter().any(|it| self.is(it)),
            Kind::Object => false,
            _ => memchr::memmem::find(&text(json), &self.text).is_some(),
        }
    }
}

/// The text of a value, without a copy in the usual case.
#[inline]
pub(super) fn text(json: Json<'_>) -> Cow<'_, [u8]> {
    if let Some(plain) = json.plain_text() {
        return Cow::Borrowed(plain);
    }
    match json.text() {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
