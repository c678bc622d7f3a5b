//! `callspool backup` and `callspool restore`.

use std::io::{self, Write};

use serde_json::json;

use super::args::{BackupArgs, RestoreArgs};
use super::reindex::{Sum, Unfounded, rebuild};
use super::{CliError, Outcome, block_on, text};
use crate::backup::{Restored, Wanted, restore, take};
use crate::config::{Config, Loaded};
use crate::serve::make_private_dir;

/// `callspool backup`.
pub(super) fn back_up(loaded: &Loaded, args: &BackupArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let manifest = block_on(take(loaded, &args.output))??;
    let octets: u64 = manifest.files.iter().map(|f| f.octets).sum();
    let written = match args.json {
        true => writeln!(out, "{}", json!(manifest)),
        false => writeln!(
            out,
            "{}: {} files, {}; keep it where others cannot read it",
            args.output.display(),
            manifest.files.len(),
            text::octets(octets)
        ),
    };
    written.map_err(CliError::output)?;
    Ok(Outcome::Ok)
}

/// `callspool restore`.
pub(super) fn put_back(
    config: &Config,
    args: &RestoreArgs,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    if args.configuration {
        let restored = restore(&args.file, config, Wanted::Configuration)?;
        return tell(&restored, None, args.json, out);
    }
    make_private_dir(&config.node.data_dir)?;
    make_private_dir(&config.recording.repository)?;
    let repository = super::repository(config)?;
    let _lock = repository.lock()?;
    let restored = restore(&args.file, config, Wanted::State)?;
    let sum = rebuild(config, &repository, Unfounded::Keep)?;
    tell(&restored, Some(&sum), args.json, out)
}

fn tell(
    restored: &Restored,
    sum: Option<&Sum>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    let written = if as_json { as_object(restored, sum, out) } else { as_lines(restored, sum, out) };
    written.map_err(CliError::output)?;
    Ok(if sum.is_none_or(|s| s.problems == 0) { Outcome::Ok } else { Outcome::Failed })
}

fn as_object(restored: &Restored, sum: Option<&Sum>, out: &mut dyn Write) -> io::Result<()> {
    let left: Vec<&str> = restored.left.iter().map(|e| e.setting.as_str()).collect();
    let object = json!({
        "made": restored.manifest.made,
        "placed": restored.placed,
        "kept": restored.kept,
        "left": left,
        "calls": sum.map(|s| s.calls),
        "problems": sum.map(|s| s.problems),
    });
    writeln!(out, "{object}")
}

fn as_lines(restored: &Restored, sum: Option<&Sum>, out: &mut dyn Write) -> io::Result<()> {
    let manifest = &restored.manifest;
    writeln!(out, "backup of {} by callspool {}, node {}", manifest.made, manifest.callspool, manifest.node)?;
    for path in &restored.placed {
        writeln!(out, "put back: {}", path.display())?;
    }
    for path in &restored.kept {
        writeln!(out, "kept what was there: {}", path.display())?;
    }
    for entry in &restored.left {
        writeln!(out, "left in the backup: {} ({})", entry.name, entry.setting)?;
    }
    if let Some(sum) = sum {
        writeln!(out, "joined with {} calls of the repository", sum.calls)?;
        if sum.problems > 0 {
            writeln!(
                out,
                "{} files of the repository could not be read; see `callspool verify --all`",
                sum.problems
            )?;
        }
    }
    Ok(())
}
