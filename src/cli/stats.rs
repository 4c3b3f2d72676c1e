//! `kubectl audit stats`

use std::io::Write;

use super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs},
};
use crate::{
    analysis::stats::{Counted, Stats},
    decode::Projection,
    event::Key,
    filter::Filter,
    output, pipeline,
};

/// Count requests by any keys
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Count by the values of this key; repeatable, or several with commas
    #[arg(short, long = "key", value_name = "KEY", value_delimiter = ',', default_value = "verb")]
    keys: Vec<Key>,
    /// Count every event, not each request once
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut projection = Projection::default();
    let counted = if args.events { Counted::Events } else { Counted::Requests };
    let stats = Stats::new(args.keys, counted, &mut projection);
    let filter = Filter::default();
    let folded =
        pipeline::fold(&args.source.logs(), &args.source.reading(), &projection, &filter, stats);
    output::write(
        &folded.report,
        Some(&folded.input),
        args.output.output,
        args.output.look(),
        out,
    )?;
    Ok(if folded.failed.is_empty() { Exit::Done } else { Exit::Partial })
}
