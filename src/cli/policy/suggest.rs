//! `kubectl audit policy suggest`

use std::{io::Write, path::Path};

use serde::Serialize;

use super::super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, size, summary},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    summary::size as shown,
};
use crate::{
    analysis::{
        simulation::{Side, Simulation},
        stats::Period,
        traffic::Traffic,
    },
    decode::Projection,
    event::Timestamp,
    output::Format,
    pipeline,
    policy::{
        Evaluator,
        baseline::{self, Baseline, Keep},
        load::KubeVersion,
        suggest::{self, Loss, Step, TIERS, Verb, What, Who},
    },
    report::{Cell, Column, Report, Table},
};

/// Propose a policy from a log: what to give up first, so that a budget holds and a baseline stays
///
/// Prints a policy with comments. Changes, sessions and what people do are never given up. Without a
/// budget: only what nobody would miss. The log is read twice; the second time the policy is tried on it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Less noise, nothing lost that matters
  kubectl audit policy suggest examples/audit.log > policy.yaml

  # At most 2 GiB a day, and all that the CIS benchmark asks for
  kubectl audit policy suggest --keep cis --max-bytes-per-day 2GiB examples/audit.log

  # What each step down the ladder would save
  kubectl audit policy suggest --keep strict --max-bytes-per-day 8MiB -o wide examples/audit.log")]
pub struct Args {
    /// The baseline that must stay: cis, strict, none
    #[arg(long, value_name = "BASELINE", value_enum, default_value_t, hide_possible_values = true)]
    keep: Keep,
    /// What the log may take: bytes, or such as 500MiB, 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_bytes_per_day: Option<usize>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicySuggestion {
    /// The file.
    policy: String,
    /// What is given up, in this order.
    steps: Vec<StepRow>,
    /// The log as it is.
    before: Side,
    /// What the policy makes of it, by simulation.
    after: Side,
    /// The time of the log.
    period: Period,
    bytes_per_day: PerDay,
    baselines: Vec<Baseline>,
    /// Whether the budget holds.
    reached: bool,
}

#[derive(Debug, Serialize)]
struct PerDay {
    before: u64,
    after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<u64>,
}

/// A step, as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepRow {
    /// What an investigator loses.
    costs: &'static str,
    what: String,
    who: Option<String>,
    events: u64,
    bytes: u64,
}

/// A log shorter than this says little about a day.
const ENOUGH: f64 = 3600.0;
const DAY: f64 = 86_400.0;

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    if args.source.paths.iter().any(|it| it == Path::new("-")) {
        return Err(Error::OnlyOnce);
    }
    let mut projection = Projection::default();
    let traffic = Traffic::new(&mut projection);
    let filter = args.filter.build(now(), &mut projection)?;
    warn_of_unknown_keys(projection.keys());
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, traffic);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    let kinds = folded.report;

    let seconds = seconds(kinds.period);
    if kinds.kinds.is_empty() && !args.output.quiet {
        exit::warning("no event was read: this policy is made from nothing");
    } else if seconds < ENOUGH && !args.output.quiet {
        exit::warning(&format!(
            "the logs cover {seconds:.0} seconds only: a day may look otherwise"
        ));
    }
    let share = |day: usize| (day as f64 * seconds / DAY) as u64;
    let budget = args.max_bytes_per_day.map(share);
    let plan = suggest::plan(&kinds.kinds, args.keep, budget);

    // The proof: what the server would load, tried on the same log.
    let text = suggest::manifest(&plan, &[]);
    let policy = super::load("suggestion", text.as_bytes(), KubeVersion::default())?;
    let evaluator = Evaluator::new(&policy);
    let mut projection = Projection::default();
    let simulation = Simulation::new(&policy, &evaluator, &mut projection);
    let filter = args.filter.build(now(), &mut projection)?;
    let tried = pipeline::fold(&sources.logs, &reading, &projection, &filter, simulation);
    let (before, after) = (tried.report.before, tried.report.after);
    let events: u64 = kinds.kinds.values().map(|it| it.arrivals.events + it.others.events).sum();
    if before.events < events {
        return Err(Error::OnlyOnce);
    }
    let per_day = |bytes: u64| (bytes as f64 * DAY / seconds) as u64;
    let mut report = PolicySuggestion {
        policy: String::new(),
        steps: plan.steps.iter().map(StepRow::new).collect(),
        bytes_per_day: PerDay {
            before: per_day(before.bytes),
            after: per_day(after.bytes),
            budget: args.max_bytes_per_day.map(|it| it as u64),
        },
        baselines: baseline::check(&policy),
        reached: budget.is_none_or(|it| after.bytes <= it),
        period: kinds.period,
        before,
        after,
    };
    report.policy = suggest::manifest(&plan, &report.head());
    if !report.reached {
        exit::warning(&format!(
            "{} a day is as little as it can be: changes, sessions, people{} stay",
            shown(report.bytes_per_day.after),
            if args.keep == Keep::None { "" } else { " and the baseline" },
        ));
    }
    match args.output.output {
        Format::Table | Format::Yaml => out.write_all(report.policy.as_bytes())?,
        _ => args.output.write(&report, Some(&folded.input), out)?,
    }
    summary(&folded.input, &args.output, out)?;
    Ok(if !report.reached && exit == Exit::Done { Exit::Findings } else { exit })
}

/// The seconds that the log covers, one at least.
fn seconds(period: Period) -> f64 {
    match (period.from, period.to) {
        (Some(from), Some(to)) => ((to.0.saturating_sub(from.0)) as f64 / 1e6).max(1.0),
        _ => 1.0,
    }
}

impl StepRow {
    fn new(step: &Step) -> StepRow {
        let name = |what: &What| match what {
            What::Resource { group, resource } if group.is_empty() => resource.clone(),
            What::Resource { group, resource } => format!("{resource}.{group}"),
            What::Path(path) => (*path).to_owned(),
            What::Rest => "the rest".to_owned(),
        };
        let kind = |verb: &Verb, what: &What| match verb {
            Verb::Read => format!("reads of {}", name(what)),
            _ => format!("changes of {}", name(what)),
        };
        let (what, who) = match &step.loss {
            Loss::Arrivals => ("stage RequestReceived".to_owned(), None),
            Loss::ManagedFields => ("managed fields".to_owned(), None),
            Loss::Path(path) => ((*path).to_owned(), None),
            Loss::Requests { who, verb, what } => (kind(verb, what), Some(who)),
            Loss::Bodies { verb, what, level } => {
                (format!("{}: {} only", kind(verb, what), level.as_str()), None)
            }
        };
        let who = who.map(|it| match it {
            Who::Nodes => "system:nodes".to_owned(),
            Who::System(name) | Who::Account(name) => name.clone(),
            Who::Person => "everybody".to_owned(),
        });
        StepRow { costs: TIERS[step.tier], what, who, events: step.events, bytes: step.bytes }
    }
}

impl PolicySuggestion {
    /// What a reader of the file must know.
    fn head(&self) -> Vec<String> {
        let day = &self.bytes_per_day;
        let time = |it: Option<Timestamp>| it.map_or_else(|| "?".to_owned(), |it| it.to_string());
        let mut head = vec![
            format!(
                "Suggested from {} events, {}, {} to {}.",
                self.before.events,
                shown(self.before.bytes),
                time(self.period.from),
                time(self.period.to)
            ),
            format!(
                "With it: {} events, {}: {} a day, before {} a day.",
                self.after.events,
                shown(self.after.bytes),
                shown(day.after),
                shown(day.before)
            ),
        ];
        // No event says nothing about a day.
        if let Some(budget) = day.budget.filter(|_| self.before.events > 0) {
            let is_kept = if self.reached { "kept" } else { "NOT kept" };
            head.push(format!("The budget of {} a day is {is_kept}.", shown(budget)));
        }
        for it in &self.baselines {
            head.push(match it.passed {
                true => format!("Baseline {}: all of it is logged.", it.id),
                false => format!("Baseline {}: {}.", it.id, it.message()),
            });
        }
        if !self.steps.is_empty() {
            head.push("Given up, in this order:".to_owned());
        }
        for costs in TIERS {
            let steps = self.steps.iter().filter(|it| it.costs == costs);
            let (mut n, mut bytes) = (0, 0);
            steps.for_each(|it| (n, bytes) = (n + 1, bytes + it.bytes));
            if n > 0 {
                head.push(format!("- {costs}: {}", shown(bytes)));
            }
        }
        head
    }
}

impl Report for PolicySuggestion {
    const KIND: &'static str = "PolicySuggestion";
    const EMPTY: &'static str = "Nothing to give up.";
    type Item = StepRow;

    fn items(&self) -> &[StepRow] {
        &self.steps
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::number("EVENTS"),
            Column::number("BYTES"),
            Column::text("WHAT"),
            Column::text("WHO"),
            Column::text("COSTS"),
        ];
        let row = |it: &StepRow| {
            vec![
                Cell::Number(it.events),
                Cell::Number(it.bytes),
                Cell::from(it.what.as_str()),
                Cell::from(it.who.as_deref()),
                Cell::from(it.costs),
            ]
        };
        vec![Table { columns, rows: self.steps.iter().map(row).collect() }]
    }
}
