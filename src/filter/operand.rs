//! The value in a condition, read once as all it may mean, and compared with an event's.

use std::{borrow::Cow, cmp::Ordering};

use super::{decimal::Decimal, window};
use crate::event::{Json, Kind, Timestamp};

/// A value that a person wrote.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    text: Box<[u8]>,
    is_number: bool,
    time: Option<Timestamp>,
}

impl Operand {
    pub(super) fn new(text: &str) -> Operand {
        let time = Timestamp::parse(text.as_bytes()).or_else(|| window::calendar(text));
        let text = text.as_bytes();
        Operand { is_number: Decimal::parse(text).is_some(), time, text: text.into() }
    }

    /// As it was written.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
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
        if self.is_number
            && let (Some(its), Some(mine)) = (Decimal::parse(text), Decimal::parse(&self.text))
        {
            return its.cmp(&mine);
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
            || ((self.is_number || self.time.is_some())
                && self.order_text(&text) == Ordering::Equal)
    }

    /// Whether a text is this one; `None` where a number or a time may be written in another way.
    #[inline]
    pub(super) fn is_text(&self, text: &[u8]) -> Option<bool> {
        (!self.is_number && self.time.is_none()).then(|| *text == *self.text)
    }

    /// Whether an event's list has this element, or its text this part.
    pub(super) fn is_in(&self, json: Json<'_>) -> bool {
        match json.kind() {
            Kind::List => self.is_in_plain(json.bytes()).unwrap_or_else(|| {
                self.may_be_in(json.bytes()) && json.elements().into_iter().any(|it| self.is(it))
            }),
            Kind::Object => false,
            _ => memchr::memmem::find(&text(json), &self.text).is_some(),
        }
    }
}

impl Operand {
    /// Whether a list of texts has this element, if the list is as API servers write one: no blanks, and
    /// nothing but texts. Numbers and times may be written in other ways.
    fn is_in_plain(&self, list: &[u8]) -> Option<bool> {
        if self.is_number || self.time.is_some() {
            return None;
        }
        let is_bare = !self.text.iter().any(|it| matches!(it, b'"' | b'\\'));
        let mut at = list.starts_with(b"[\"").then_some(2)?;
        loop {
            if is_bare
                && list[at..].strip_prefix(&*self.text).is_some_and(|it| it.starts_with(b"\""))
            {
                return Some(true);
            }
            let mut end = at + memchr::memchr2(b'"', b'\\', &list[at..])?;
            let is_it = if list[end] == b'"' {
                list[at..end] == *self.text
            } else {
                while list[end] == b'\\' {
                    end += 2;
                    end += memchr::memchr2(b'"', b'\\', list.get(end..)?)?;
                }
                self.is(Json::new(&list[at - 1..end + 1]))
            };
            match list.get(end + 1..)? {
                _ if is_it => return Some(true),
                b"]" => return Some(false),
                [b',', b'"', ..] => at = end + 3,
                _ => return None,
            }
        }
    }

    /// Whether a list may have this element, by its bytes: most lists are done with here, without a
    /// copy. Numbers, times, lists and objects may be written in other ways, and so may what is escaped.
    fn may_be_in(&self, list: &[u8]) -> bool {
        self.is_number
            || self.time.is_some()
            || self.text.starts_with(b"[")
            || self.text.starts_with(b"{")
            || memchr::memmem::find(list, &self.text).is_some()
            || memchr::memchr(b'\\', list).is_some()
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
