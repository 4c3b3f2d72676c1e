//! What is counted of the input, whatever is computed.

use crate::{
    decode::{Head, InputSummary, Skipped},
    source::{Input, SourceError},
};

/// One worker's count of what it read.
#[derive(Default)]
pub(super) struct Tally {
    pub summary: InputSummary,
    pub requests: u64,
    /// The first few lines skipped, by (input, chunk, line in chunk).
    skipped: Vec<((usize, u64, u64), String)>,
    /// Lines per (input, chunk), to tell the number of a line in its file.
    lines: Vec<((usize, u64), u64)>,
    failed: Vec<(usize, SourceError)>,
}

/// How many skipped lines are shown.
const SAMPLES: usize = 3;

impl Tally {
    /// A line that is no event, at (input, chunk, line in chunk).
    pub(super) fn skip(&mut self, at: (usize, u64, u64), reason: String) {
        self.summary.skipped += 1;
        let place = self.skipped.partition_point(|(it, _)| *it < at);
        if place < SAMPLES {
            self.skipped.insert(place, (at, reason));
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

    pub(super) fn read(&mut self, (input, chunk): (usize, u64), bytes: u64, lines: u64) {
        self.summary.bytes += bytes;
        self.summary.lines += lines;
        self.lines.push(((input, chunk), lines));
    }

    pub(super) fn fail(&mut self, input: usize, err: SourceError) {
        self.failed.push((input, err));
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
        mine.unread_bytes += its.unread_bytes;
        let earliest = mine.from.into_iter().chain(its.from).min();
        let latest = mine.to.into_iter().chain(its.to).max();
        (mine.from, mine.to) = (earliest, latest);
        self.skipped.extend(other.skipped);
        self.skipped.sort();
        self.skipped.truncate(SAMPLES);
        self.lines.extend(other.lines);
        self.failed.extend(other.failed);
    }

    /// The inputs that failed, in their order.
    pub(super) fn take_failed(&mut self) -> Vec<SourceError> {
        self.failed.sort_by_key(|(input, _)| *input);
        std::mem::take(&mut self.failed).into_iter().map(|(_, err)| err).collect()
    }

    /// The whole, once all workers' parts are merged.
    pub(super) fn summary(mut self, inputs: &[(&str, &Input)]) -> InputSummary {
        let mut logs: Vec<&str> = inputs.iter().map(|(log, _)| *log).collect();
        logs.dedup();
        self.summary.logs = logs.len() as u64;
        self.summary.files = inputs.len() as u64;
        let samples = self.skipped.iter().map(|((input, chunk, line), reason)| {
            let is_before =
                |((it, before), _): &&((usize, u64), u64)| it == input && before < chunk;
            let before: u64 = self.lines.iter().filter(is_before).map(|(_, lines)| lines).sum();
            Skipped {
                input: inputs[*input].1.name.clone(),
                line: before + line,
                reason: reason.clone(),
            }
        });
        self.summary.skipped_samples = samples.collect();
        self.summary
    }
}
