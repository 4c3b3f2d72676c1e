//! What is counted of the input, whatever is computed.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::{Part, Place};
use crate::{
    decode::{Head, InputSummary, Record, Skipped},
    filter::Noticed,
    source::{Input, Leftover, Order, SourceError},
};

/// One worker's count of what it read.
#[derive(Default)]
pub(super) struct Tally {
    pub summary: InputSummary,
    pub requests: u64,
    /// The first few lines skipped: where, the name of the file, why.
    skipped: Vec<(Part, u64, String, String)>,
    /// How many lines each part has, to tell the number of a line in its file.
    lines: Vec<(Part, u64)>,
    /// The parts of inputs of which the rest was passed over.
    orders: Vec<(Part, Order)>,
    /// By input.
    failed: Vec<(usize, SourceError)>,
    /// Inputs that could not even be opened.
    unopened: BTreeSet<usize>,
    /// By input that is an archive: the log that each of its members is a part of.
    members: BTreeMap<usize, Vec<String>>,
    /// By input that is an archive: what in it is no audit log.
    passed_over: BTreeMap<usize, Vec<String>>,
    /// What was seen of the names that a filter watches.
    pub noticed: Noticed,
}

/// How many skipped lines are shown.
const SAMPLES: usize = 3;

impl Tally {
    /// A line of a part that is no event.
    pub(super) fn skip(&mut self, at: Place<'_>, line: u64, reason: String) {
        self.summary.skipped += 1;
        let place = self.skipped.partition_point(|it| (it.0, it.1) < (at.part, line));
        if place < SAMPLES {
            self.skipped.insert(place, (at.part, line, at.name.to_owned(), reason));
            self.skipped.truncate(SAMPLES);
        }
    }

    pub(super) fn event(&mut self, head: Head) {
        self.summary.events += 1;
        self.requests += u64::from(head.ends_request);
        let Some(time) = head.stage_timestamp else { return };
        let (from, to) = (&mut self.summary.from, &mut self.summary.to);
        *from = Some(from.map_or(time, |it| it.min(time)));
        *to = Some(to.map_or(time, |it| it.max(time)));
    }

    /// An event of a request with which this run read the logs.
    pub(super) fn own(&mut self, record: &Record<'_>) {
        let own = &mut self.summary.own_requests;
        own.requests += u64::from(record.ends_request());
        own.bytes += record.line().len() as u64;
    }

    pub(super) fn read(&mut self, part: Part, bytes: u64, lines: u64) {
        self.summary.bytes += bytes;
        self.summary.lines += lines;
        self.lines.push((part, lines));
    }

    pub(super) fn ordered(&mut self, part: Part, order: Order) {
        self.orders.push((part, order));
    }

    /// How ordered each input is of which the rest was passed over, once all parts are merged.
    pub(super) fn orders(&mut self) -> impl Iterator<Item = (usize, Order)> {
        self.orders.sort_by_key(|(part, _)| *part);
        let inputs = self.orders.chunk_by(|(a, _), (b, _)| a.input == b.input);
        inputs.map(|parts| {
            let order = parts.iter().fold(Order::default(), |order, (_, next)| order.then(*next));
            (parts[0].0.input, order)
        })
    }

    pub(super) fn fail(&mut self, input: usize, err: SourceError) {
        self.failed.push((input, err));
    }

    pub(super) fn unopened(&mut self, input: usize, err: SourceError) {
        self.unopened.insert(input);
        self.fail(input, err);
    }

    /// An archive was read: `logs` has the name of the log for each file in it.
    pub(super) fn archive(&mut self, at: Place<'_>, logs: Vec<String>, left: Leftover) {
        let input = at.part.input;
        if logs.is_empty() && left.failed.is_empty() {
            self.fail(input, SourceError::NoLogs { name: at.name.to_owned() });
        }
        self.failed.extend(left.failed.into_iter().map(|err| (input, err)));
        self.members.insert(input, logs);
        self.passed_over.insert(input, left.passed_over);
    }

    pub(super) fn merge(&mut self, other: Tally) {
        let (mine, its) = (&mut self.summary, other.summary);
        self.requests += other.requests;
        mine.bytes += its.bytes;
        mine.lines += its.lines;
        mine.events += its.events;
        mine.skipped += its.skipped;
        mine.truncated += its.truncated;
        mine.duplicates += its.duplicates;
        mine.own_requests.requests += its.own_requests.requests;
        mine.own_requests.bytes += its.own_requests.bytes;
        mine.unread_bytes += its.unread_bytes;
        let earliest = mine.from.into_iter().chain(its.from).min();
        let latest = mine.to.into_iter().chain(its.to).max();
        (mine.from, mine.to) = (earliest, latest);
        self.skipped.extend(other.skipped);
        self.skipped.sort();
        self.skipped.truncate(SAMPLES);
        self.lines.extend(other.lines);
        self.orders.extend(other.orders);
        self.failed.extend(other.failed);
        self.unopened.extend(other.unopened);
        self.members.extend(other.members);
        self.passed_over.extend(other.passed_over);
        self.noticed.merge(other.noticed);
    }

    /// The inputs that failed, in their order.
    pub(super) fn take_failed(&mut self) -> Vec<SourceError> {
        self.failed.sort_by_key(|(input, _)| *input);
        std::mem::take(&mut self.failed).into_iter().map(|(_, err)| err).collect()
    }

    /// What in archives is no audit log.
    pub(super) fn take_passed_over(&mut self) -> Vec<String> {
        std::mem::take(&mut self.passed_over).into_values().flatten().collect()
    }

    /// The whole, once all workers' parts are merged.
    pub(super) fn summary(mut self, inputs: &[(&str, &Input)]) -> InputSummary {
        let is_file = |it: &usize| !self.members.contains_key(it) && !self.unopened.contains(it);
        let files = (0..inputs.len()).filter(is_file).map(|it| inputs[it].0);
        let files: Vec<&str> =
            files.chain(self.members.values().flatten().map(String::as_str)).collect();
        self.summary.files = files.len() as u64;
        self.summary.logs = files.into_iter().collect::<BTreeSet<_>>().len() as u64;
        let samples = self.skipped.iter().map(|(part, line, name, reason)| {
            let is_before =
                |it: &Part| (it.input, it.member) == (part.input, part.member) && it < part;
            let before = self.lines.iter().filter(|(it, _)| is_before(it)).map(|(_, n)| n);
            let line = before.sum::<u64>() + line;
            Skipped { input: name.clone(), line, reason: reason.clone() }
        });
        self.summary.skipped_samples = samples.collect();
        self.summary
    }
}
