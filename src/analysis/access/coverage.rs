//! How much time a log tells of, and where it is silent. What was not seen proves little if the log
//! was short.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::event::Timestamp;

/// The steps of time in which something was recorded.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// Numbers of steps since the Unix epoch.
    steps: BTreeSet<i64>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// A cluster that does nothing renews its leases every few seconds.
const STEP: i64 = 5 * 60 * 1_000_000;
/// Steps kept: ten years. Times further apart are a stranger's joke.
const MAX_STEPS: usize = 1_051_200;
/// Below this, what was not used may only not have been needed yet.
const ENOUGH: f64 = 30.0 * 86_400.0;

/// What the logs cover.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Window {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// In seconds, with the gaps.
    pub duration: f64,
    /// Times of ten minutes or more without any event.
    pub gaps: Vec<Gap>,
    /// Why it proves little, if it does.
    pub warning: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Coverage {
    pub fn add(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        self.from = Some(self.from.map_or(time, |it| it.min(time)));
        self.to = self.to.max(Some(time));
        if self.steps.len() < MAX_STEPS {
            self.steps.insert(time.0.div_euclid(STEP));
        }
    }

    pub fn merge(&mut self, other: Coverage) {
        self.add(other.from);
        self.add(other.to);
        self.steps.extend(other.steps);
    }

    pub fn window(&self) -> Window {
        let (Some(from), Some(to)) = (self.from, self.to) else {
            let warning = Some("the logs hold no events: nothing is proven".to_owned());
            return Window { warning, ..Window::default() };
        };
        let steps: Vec<i64> = self.steps.iter().copied().collect();
        let gap = |pair: &[i64]| {
            let (from, to) = (Timestamp((pair[0] + 1) * STEP), Timestamp(pair[1] * STEP));
            (to.0 - from.0 >= 2 * STEP).then_some(Gap { from, to })
        };
        let gaps: Vec<Gap> = steps.windows(2).filter_map(gap).collect();
        let duration = to.0.saturating_sub(from.0) as f64 / 1e6;
        let missing: f64 = gaps.iter().map(|it| (it.to.0 - it.from.0) as f64 / 1e6).sum();
        let mut warning = None;
        if duration - missing < ENOUGH {
            warning = Some(format!(
                "the logs cover {} only: what was not used then may be needed at the end of the month, in an upgrade or an incident",
                span(duration - missing)
            ));
        } else if !gaps.is_empty() {
            warning = Some(format!("the logs are silent for {} in between", span(missing)));
        }
        Window { from: Some(from), to: Some(to), duration, gaps, warning }
    }
}

/// A duration in its two largest units.
fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(minutes: &[i64], gaps: usize, warning: &str) {
        let mut coverage = Coverage::default();
        minutes.iter().for_each(|it| coverage.add(Some(Timestamp(it * 60_000_000))));
        let window = coverage.window();
        assert_eq!(window.gaps.len(), gaps, "{window:?}");
        assert!(window.warning.unwrap_or_default().contains(warning));
    }

    #[test]
    fn windows() {
        check(&[], 0, "no events");
        check(&[0, 4, 9, 11], 0, "cover 11 min only");
        check(&[0, 40], 1, "cover 5 min only");
        let month: Vec<i64> = (0..31 * 24 * 12).map(|it| it * 5).collect();
        check(&month, 0, "");
        let holed: Vec<i64> =
            (0..40 * 24 * 12).map(|it| it * 5).filter(|it| !(100..1540).contains(it)).collect();
        check(&holed, 1, "silent for 1 d 0 h");
    }
}
