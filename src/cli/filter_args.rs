//! The flags that choose events, and the filter they become.

use std::sync::OnceLock;

use super::exit;
use crate::{
    decode::Projection,
    event::{Key, Timestamp},
    filter::{self, Filter, FilterError, Window},
};

/// Which events.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which events")]
pub struct FilterArgs {
    /// From this time on: a duration back from now (15m, 2h30m, 1d, 1w) or a time (2026-01-02 03:04, UTC)
    #[arg(long, value_name = "D|T")]
    pub since: Option<String>,
    /// Up to this time, inclusive
    #[arg(long, value_name = "D|T")]
    pub until: Option<String>,
    /// Events for which this holds: KEY=V, !=, >=, <=, >, <, += (contains), -=, =~ (regular expression), !~,
    /// KEY in (A,B), KEY notin (A,B), KEY, !KEY; repeatable, all must hold
    #[arg(short = 'F', long = "filter", value_name = "EXPR")]
    pub filters: Vec<String>,
    /// Events for which this expression of CEL over `event` is true
    #[arg(long = "where", value_name = "CEL")]
    pub expressions: Vec<String>,
    /// Requests in this namespace
    #[arg(short, long, value_name = "N")]
    pub namespace: Option<String>,
    /// Requests in all namespaces, and those without one, as without --namespace; wins over it
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Requests by this user, or service account as NAMESPACE/NAME, also when impersonated
    #[arg(long, value_name = "NAME")]
    pub subject: Option<String>,
    /// Requests with this verb; several with commas
    #[arg(long, value_name = "V")]
    pub verb: Option<String>,
    /// Requests for this resource: pods (also pod, po), pods/exec, pods/* (both), deployments.apps;
    /// several with commas
    #[arg(short, long, value_name = "R[/SUB][.GROUP]")]
    pub resource: Option<String>,
    /// Requests answered with this code: 403, 4xx; several with commas
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Requests that took longer than this: 500ms, 2s, 1m30s
    #[arg(long, value_name = "D")]
    pub slower_than: Option<String>,
    /// Leave out dry runs
    #[arg(long)]
    pub no_dry_run: bool,
}

impl FilterArgs {
    /// The filter, and the keys it needs asked for in `projection`. `now` is what durations go back from.
    ///
    /// # Errors
    /// The first flag that cannot be read.
    pub fn build(
        &self,
        now: Timestamp,
        projection: &mut Projection,
    ) -> Result<Filter, FilterError> {
        let mut filter = Filter::within(self.window(now)?);
        if let Some(verb) = &self.verb {
            filter = filter.and(filter::verb(verb, projection));
        }
        if let Some(namespace) = self.namespace.as_ref().filter(|_| !self.all_namespaces) {
            filter = filter.and(filter::namespace(namespace, projection));
        }
        if let Some(resource) = &self.resource {
            filter = filter.and(filter::resource(resource, projection)?);
        }
        if let Some(code) = &self.code {
            filter = filter.and(filter::code(code, projection)?);
        }
        if let Some(subject) = &self.subject {
            filter = filter.and(filter::subject(subject, projection));
        }
        if let Some(text) = &self.slower_than {
            filter = filter.and(filter::slower_than(text, projection)?);
        }
        if self.no_dry_run {
            filter = filter.and(filter::no_dry_run(projection));
        }
        let words = (self.verb.as_deref(), self.resource.as_deref());
        let mut watches = filter::watches(words.0, words.1, projection);
        for text in &self.filters {
            let (condition, names) = filter::parse_watched(text, projection)?;
            filter = filter.and(condition);
            watches.extend(names);
        }
        watches.into_iter().for_each(|it| filter.watch(it));
        for text in &self.expressions {
            filter = filter.and_where(text, projection)?;
        }
        Ok(filter)
    }

    /// The window alone, for what belongs to a window by overlapping it.
    ///
    /// # Errors
    /// If one of its ends cannot be read.
    pub fn window(&self, now: Timestamp) -> Result<Window, FilterError> {
        Window::new(self.since.as_deref(), self.until.as_deref(), now)
    }
}

/// Reports keys that look like misspelt fields, before anything is read. Others are reported once
/// no event had them.
pub fn warn_of_unknown_keys(keys: &[Key]) {
    for key in keys {
        if let Some(Some(like)) = filter::unknown_field(key) {
            exit::warning(&format!(
                "`{key}` is no field of an audit event; did you mean `{like}`?"
            ));
        }
    }
}

/// The time that durations go back from: one for the whole run, so that a window that is built twice
/// is the same window.
pub fn now() -> Timestamp {
    static START: OnceLock<Timestamp> = OnceLock::new();
    *START.get_or_init(clock)
}

/// The time as it is now, for what goes on while it is followed.
pub fn clock() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
