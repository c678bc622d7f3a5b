//! `callspool verify`: recordings against their digests, manifests and logs. Nothing is changed.

use std::io::{self, Write};

use model::VolumeName;
use serde_json::json;
use spool::verify::{Finding, Severity, Verified};
use spool::{Files, layout};

use super::args::VerifyArgs;
use super::{CliError, Outcome, across, file_error, progress, text};
use crate::config::Config;
use crate::elsewhere::{CallAcross, Need};
use crate::repository::Repository;

#[derive(Default)]
struct Sum {
    calls: u64,
    files: usize,
    bytes: u64,
    wrong: u64,
    notes: u64,
}

/// Verifies one call, or all.
pub(super) fn run(config: &Config, args: &VerifyArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let repository = super::repository(config)?;
    let across = args.call.map(|call| across::read(config, &repository, call, Need::Media)).transpose()?;
    let of_calls: Vec<String> = match &across {
        Some(call) => call.whole.pieces.iter().map(|p| p.directory.clone()).collect(),
        None => {
            let all: io::Result<Vec<String>> = repository.call_directories().collect();
            let what = format!("cannot read the repository {}", repository.describe());
            all.map_err(|e| file_error(what, &e))?
        }
    };
    let has_twins = |directory: &String| repository.list(directory).is_ok();
    let both = |directory: String| {
        let twins = Some(layout::twin_directory(&directory)).filter(has_twins);
        std::iter::once(directory).chain(twins)
    };
    let calls = if args.call.is_some() { 1 } else { of_calls.len() as u64 };
    let directories: Vec<String> = of_calls.into_iter().flat_map(both).collect();
    let bar = progress::bar(directories.len() as u64, "verifying");
    let mut sum = Sum { calls, ..Sum::default() };
    for directory in &directories {
        let is_lent = across.as_ref().is_some_and(|call| !call.borrowed.is_empty());
        for (volume, verified) in verified(&repository, directory, is_lent) {
            sum.add(&verified);
            let place = volume.map_or(directory.clone(), |v| format!("{v}:{directory}"));
            let told = bar.suspend(|| tell(out, &place, &verified.findings, args.json));
            told.map_err(CliError::output)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(call) = &across {
        elsewhere(out, &mut sum, call, args.json).map_err(CliError::output)?;
    }
    conclude(out, &sum, args.json).map_err(CliError::output)?;
    Ok(if sum.wrong == 0 { Outcome::Ok } else { Outcome::Failed })
}

impl Sum {
    fn add(&mut self, verified: &Verified) {
        let wrong = verified.findings.iter().filter(|f| f.severity == Severity::Wrong).count() as u64;
        self.files += verified.files;
        self.bytes += verified.bytes;
        self.wrong += wrong;
        self.notes += verified.findings.len() as u64 - wrong;
    }
}

/// What other nodes have of a call came to the digests that it was sealed with, or it is missing.
fn elsewhere(out: &mut dyn Write, sum: &mut Sum, call: &CallAcross, as_json: bool) -> io::Result<()> {
    for segment in call.borrowed.values() {
        sum.files += segment.files.len();
        sum.bytes += segment.files.iter().map(|file| file.octets).sum::<u64>();
    }
    for missing in &call.missing {
        sum.notes += 1;
        let (file, text) = (String::new(), missing.describe());
        tell(out, call.whole.directory(), &[Finding { severity: Severity::Note, file, text }], as_json)?;
    }
    Ok(())
}

/// Checks what lies of a call on each volume that has some of it; the name of the volume where there are several.
fn verified(repository: &Repository, directory: &str, is_lent: bool) -> Vec<(Option<VolumeName>, Verified)> {
    let each: Vec<_> = repository.each().collect();
    let of_several = each.len() > 1;
    let may_be_elsewhere = of_several || is_lent;
    let on_volume = |(name, one): (VolumeName, Repository)| match one.list(directory) {
        // Another volume has it, or another node.
        Err(e) if may_be_elsewhere && e.kind() == io::ErrorKind::NotFound => None,
        _ => {
            let verified = spool::verify::call(&one, directory).unwrap_or_else(|e| unreadable(&e));
            Some((of_several.then_some(name), verified))
        }
    };
    each.into_iter().filter_map(on_volume).collect()
}

fn unreadable(error: &io::Error) -> Verified {
    let text = format!("cannot be read: {error}");
    let finding = Finding { severity: Severity::Wrong, file: String::new(), text };
    Verified { findings: vec![finding], ..Verified::default() }
}

fn tell(out: &mut dyn Write, directory: &str, findings: &[Finding], as_json: bool) -> io::Result<()> {
    for finding in findings {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Wrong => "wrong",
        };
        let (file, why) = (text::clean(&finding.file), text::clean(&finding.text));
        if as_json {
            writeln!(
                out,
                "{}",
                json!({"directory": directory, "file": file, "severity": severity, "text": why})
            )?;
        } else {
            writeln!(out, "{severity}: {}: {why}", format!("{directory}/{file}").trim_end_matches('/'))?;
        }
    }
    Ok(())
}

fn conclude(out: &mut dyn Write, sum: &Sum, as_json: bool) -> io::Result<()> {
    if as_json {
        let object = json!({"calls": sum.calls, "files": sum.files, "bytes": sum.bytes, "wrong": sum.wrong, "notes": sum.notes});
        return writeln!(out, "{object}");
    }
    let result =
        if sum.wrong == 0 { "all as it was written".to_owned() } else { format!("{} wrong", sum.wrong) };
    let read = format!("{} calls, {} files, {}", sum.calls, sum.files, text::octets(sum.bytes));
    writeln!(
        out,
        "{read}: {result}{}",
        if sum.notes > 0 { format!(", {} notes", sum.notes) } else { String::new() }
    )
}
