//! Counts the requests of each user in the logs that are named: `cargo run --example count_by_user -- PATH...`

use std::{collections::BTreeMap, env, io, io::Write};

use kubectl_audit::{
    analysis::Analysis,
    decode::{Projection, Record, Slot},
    filter::Filter,
    pipeline::{self, Reading},
    source,
};

/// An analysis of one's own: a fold whose result does not depend on order or split.
#[derive(Clone)]
struct ByUser {
    username: Slot,
    counts: BTreeMap<String, u64>,
}

impl Analysis for ByUser {
    type Report = BTreeMap<String, u64>;

    fn observe(&mut self, record: &Record<'_>) {
        if record.ends_request() {
            *self.counts.entry(record.text(self.username).into_owned()).or_default() += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        other.counts.into_iter().for_each(|(user, n)| *self.counts.entry(user).or_default() += n);
    }

    fn finish(self) -> Self::Report {
        self.counts
    }
}

fn main() -> io::Result<()> {
    let paths: Vec<_> = env::args_os().skip(1).map(Into::into).collect();
    let mut projection = Projection::default();
    let by_user = ByUser { username: projection.want("user.username"), counts: BTreeMap::new() };
    let logs = source::find(&paths).logs;
    let folded =
        pipeline::fold(&logs, &Reading::default(), &projection, &Filter::default(), by_user);
    let mut out = io::stdout().lock();
    folded.report.iter().try_for_each(|(user, n)| writeln!(out, "{n:8} {user}"))
}
