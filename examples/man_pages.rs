//! Writes a man page for each command into a folder: `cargo run --example man_pages -- FOLDER`.

use std::{env, error::Error, fs, io::Write, path::Path};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("name a folder")?;
    fs::create_dir_all(&folder)?;
    let mut command = kubectl_audit::cli::command("kubectl audit").name("kubectl-audit");
    command.build();
    write(&command, "kubectl-audit", Path::new(&folder))
}

/// This command's page, and those of the commands below it.
fn write(command: &Command, name: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = command.clone().name(name.to_owned()).after_help("");
    let man = Man::new(page).title(name.to_uppercase()).manual("kubectl audit").date("");
    let mut file = fs::File::create(folder.join(format!("{name}.1")))?;
    man.render_title(&mut file)?;
    man.render_name_section(&mut file)?;
    man.render_synopsis_section(&mut file)?;
    man.render_description_section(&mut file)?;
    if let Some(lines) = examples.strip_prefix("Examples:\n") {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        lines.lines().for_each(|it| _ = section.text([roman(it)]));
        section.control("fi", []).to_writer(&mut file)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut file)?;
    }
    man.render_options_section(&mut file)?;
    file.flush()?;
    let below = command.get_subcommands().filter(|it| it.get_name() != "help");
    below.into_iter().try_for_each(|it| write(it, &format!("{name}-{}", it.get_name()), folder))
}
