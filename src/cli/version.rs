//! `kubectl audit version`

use std::io::Write;

use serde::Serialize;

use super::{Error, Exit};

/// Print the version
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # For people
  kubectl audit version

  # For bug reports
  kubectl audit version -o json

  # The same for scripts that read YAML
  kubectl audit version -o yaml")]
pub struct Args {
    /// json or yaml
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Json,
    Yaml,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    api_version: &'static str,
    kind: &'static str,
    version: &'static str,
    platform: String,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let version = Version {
        api_version: crate::output::API_VERSION,
        kind: "Version",
        version: concat!("v", env!("CARGO_PKG_VERSION")),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    };
    match args.output {
        None => writeln!(out, "kubectl-audit {} ({})", version.version, version.platform)?,
        Some(Format::Json) => {
            serde_json::to_writer_pretty(&mut *out, &version).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Some(Format::Yaml) => crate::output::yaml(&version, out)?,
    }
    Ok(Exit::Done)
}
