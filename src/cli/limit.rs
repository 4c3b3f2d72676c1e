//! `--limit`: how much of a list is shown, and how much more there is.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use serde::Serialize;

use super::{args::OutputArgs, exit};
use crate::{output::First, report::Report};

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct LimitArgs {
    /// Show at most N rows or lines; 0 shows all
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub limit: usize,
}

impl LimitArgs {
    /// Writes as much of a report as is wanted, and says how much more there is.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write<R: Report, I: Serialize>(
        self,
        report: &R,
        (output, input): (&OutputArgs, Option<&I>),
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let first = First::of(report, self.limit);
        output.write(&first, input, out)?;
        tell(first.hidden(output.output) as u64, out)
    }

    /// Lines, of which as many are written as are wanted.
    pub fn lines(self) -> Lines {
        Lines { limit: if self.limit == 0 { u64::MAX } else { self.limit as u64 }, found: 0 }
    }
}

/// Says how much is not shown, behind what is.
fn tell(hidden: u64, out: &mut dyn Write) -> io::Result<()> {
    if hidden > 0 {
        out.flush()?;
        exit::note(&format!("{hidden} more: --limit 0 prints all"));
    }
    Ok(())
}

/// Writes the first lines, and counts the others.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    limit: u64,
    found: u64,
}

impl Lines {
    /// Writes of whole lines those that are still wanted.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&mut self, text: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let left = self.limit.saturating_sub(self.found);
        let mut ends = memchr::memchr_iter(b'\n', text);
        let (mut n, mut end) = (0, 0);
        while n < left
            && let Some(at) = ends.next()
        {
            n += 1;
            end = at + 1;
        }
        self.found += n + ends.count() as u64;
        if end > 0 { out.write_all(&text[..end]) } else { Ok(()) }
    }

    /// Whether there was no line.
    pub fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Ends what could go on for ever, once as much was written as is wanted.
    pub fn go_on(&self) -> ControlFlow<()> {
        if self.found < self.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Says how many lines were not written.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        tell(self.found.saturating_sub(self.limit), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: usize, blocks: &[&str], written: &str, hidden: u64) {
        let (mut lines, mut out) = (LimitArgs { limit }.lines(), Vec::new());
        blocks.iter().for_each(|text| lines.write(text.as_bytes(), &mut out).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), written);
        assert_eq!(lines.found.saturating_sub(lines.limit), hidden);
    }

    #[test]
    fn zero_is_all() {
        check(0, &["a\nb\n", "", "c\n"], "a\nb\nc\n", 0);
    }
    #[test]
    fn the_first_lines_are_written() {
        check(2, &["a\n", "", "b\n"], "a\nb\n", 0);
        check(2, &["a\n", "b\n", "c\n"], "a\nb\n", 1);
        check(1, &["a\nb\nc\n", "d\n"], "a\n", 3);
    }
    #[test]
    fn a_stream_ends_with_the_last_line_that_is_wanted() {
        let mut lines = LimitArgs { limit: 1 }.lines();
        assert_eq!(lines.go_on(), ControlFlow::Continue(()));
        lines.write(b"a\n", &mut Vec::new()).unwrap();
        assert_eq!(lines.go_on(), ControlFlow::Break(()));
    }
}
