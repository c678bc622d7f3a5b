//! `callspool generate`: manual pages and completions, made from the command line itself.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::{Cli, GenerateArgs};
use super::{CliError, Outcome, file_error};

/// The shells that Debian has.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes them.
pub(super) fn run(args: &GenerateArgs) -> Result<Outcome, CliError> {
    write(&args.directory)
        .map_err(|e| file_error(format!("cannot write into {}", args.directory.display()), &e))?;
    Ok(Outcome::Ok)
}

fn write(directory: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(Cli::command(), directory)?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Cli::command(), "callspool", directory)?;
    }
    Ok(())
}
