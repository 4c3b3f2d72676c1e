//! What a key asks for in a record: a field of the event, or a value made from several of them.

use super::{Projection, Record, Slot, Values};
use crate::event::{Json, Key, Part, Timestamp, dry_run};

/// Finds the values of one key in any record of a projection.
#[derive(Debug, Clone)]
pub struct Lookup(Source);

#[derive(Debug, Clone)]
enum Source {
    Field(Slot),
    /// The second where the first has no value.
    Either(Slot, Slot),
    /// The request URI without its query.
    Path(Slot),
    /// Seconds from received to the end of the request.
    Duration(Slot),
    DryRun(Box<DryRunSlots>),
    /// The name of the log, as `execs` prints it.
    Log,
    /// The node that the log was read from.
    Node,
}

#[derive(Debug, Clone)]
struct DryRunSlots {
    verb: Slot,
    resource: Slot,
    subresource: Slot,
    request_uri: Slot,
    body: Slot,
    body_options: Slot,
    eviction_options: Slot,
    label: Slot,
}

impl From<Slot> for Lookup {
    fn from(slot: Slot) -> Lookup {
        Lookup(Source::Field(slot))
    }
}

impl Lookup {
    /// Asks for what this key needs.
    pub fn new(key: &Key, projection: &mut Projection) -> Lookup {
        let name = match key.parts() {
            [Part::Name(name)] => &**name,
            _ => "",
        };
        Lookup(match name {
            "path" => Source::Path(projection.want("requestURI")),
            "duration" => Source::Duration(projection.want("requestReceivedTimestamp")),
            "dryRun" => Source::DryRun(Box::new(DryRunSlots {
                verb: projection.want("verb"),
                resource: projection.want("objectRef.resource"),
                subresource: projection.want("objectRef.subresource"),
                request_uri: projection.want("requestURI"),
                body: projection.want("requestObject"),
                body_options: projection.want("requestObject.dryRun"),
                eviction_options: projection.want("requestObject.deleteOptions.dryRun"),
                label: projection.want(&format!("annotations.\"{}\"", dry_run::LABEL)),
            })),
            "log" => Source::Log,
            "node" => Source::Node,
            _ => match key.with_joined_name() {
                Some(joined) => Source::Either(projection.slot(&joined), projection.slot(key)),
                None => Source::Field(projection.slot(key)),
            },
        })
    }

    /// As [`Record::plain_text`].
    #[inline]
    pub fn plain_text<'a>(&self, record: &Record<'a>) -> Option<(&'a [u8], usize)> {
        match self.0 {
            Source::Field(slot) | Source::Either(slot, _) => record.plain_text(slot),
            Source::Path(slot) => {
                let (text, len) = record.plain_text(slot)?;
                Some((text, memchr::memchr(b'?', &text[..len]).unwrap_or(len)))
            }
            Source::Duration(_) | Source::DryRun(_) | Source::Log | Source::Node => None,
        }
    }

    /// Calls `take` with everything the key leads to, as [`Record::values`].
    pub fn with<R>(&self, record: &Record<'_>, take: impl FnOnce(&Values<'_>) -> R) -> R {
        let made = match &self.0 {
            Source::Field(slot) => return take(&record.values(*slot)),
            Source::Either(first, second) => {
                return match record.values(*first) {
                    Values::None => take(&record.values(*second)),
                    values => take(&values),
                };
            }
            Source::Path(slot) => record.value(*slot).map(|uri| {
                let uri = uri.text();
                serde_json::Value::from(uri.split('?').next().unwrap_or_default()).to_string()
            }),
            Source::Duration(slot) => duration(record, *slot).map(seconds),
            Source::DryRun(slots) => Some(slots.is_dry_run(record).to_string()),
            Source::Log => Some(serde_json::Value::from(record.log()).to_string()),
            Source::Node => record.node().map(|node| serde_json::Value::from(node).to_string()),
        };
        match made {
            Some(json) => take(&Values::One(Json::new(json.as_bytes()))),
            None => take(&Values::None),
        }
    }
}

/// Microseconds from `received` to the end of a request; `None` for an event that ends none.
pub fn duration(record: &Record<'_>, received: Slot) -> Option<u64> {
    if !record.ends_request() {
        return None;
    }
    let ended = record.stage_timestamp()?;
    let received = Timestamp::parse(record.value(received)?.text().as_bytes())?;
    Some(u64::try_from(ended.0 - received.0).unwrap_or(0))
}

/// Microseconds as a JSON number of seconds.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl DryRunSlots {
    fn is_dry_run(&self, record: &Record<'_>) -> bool {
        let asks = |slot| record.value(slot).is_some_and(|it| !it.elements().is_empty());
        let has_body = record.value(self.body).is_some();
        dry_run::DryRun {
            verb: &record.word(self.verb),
            resource: &record.text(self.resource),
            subresource: &record.text(self.subresource),
            request_uri: &record.text(self.request_uri),
            options: has_body.then(|| asks(self.body_options) || asks(self.eviction_options)),
            label: &record.text(self.label),
        }
        .is_dry_run()
    }
}
