//! `callspool export`: a call as a WAV file, read from the recordings themselves.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{SegmentRecord, StreamId};
use spool::assemble::{Assembler, Layout, Note, Options, Rate};

use super::args::ExportArgs;
use super::show::CallFiles;
use super::{CliError, Outcome, file_error, progress};
use crate::config::Config;
use crate::repository::Repository;

/// Exports it.
pub(super) fn run(config: &Config, args: &ExportArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let repository = super::repository(config)?;
    let call = CallFiles::read(&repository, args.call)?;
    let what = format!("cannot export {}", args.call);
    let segments = chosen(&call, args, &what)?;
    let layout = match args.stream {
        Some(stream) => Layout::One(known(stream, &segments, &what)?),
        None if args.mono => Layout::Mono,
        None => Layout::Stereo,
    };
    let rate = if args.rate_hz() == 16_000 { Rate::Wide } else { Rate::Narrow };
    if segments.iter().any(SegmentRecord::is_live) {
        eprintln!("callspool: note: the call is being recorded; this is what there is of it so far");
    }
    let placed = segments.into_iter().map(|s| (s, call.directory.clone())).collect();
    let assembler = Assembler::new(placed, Options { rate, layout })
        .map_err(|e| CliError::failed(&what, e, "export its segments one by one with --segment"))?;

    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.wav", args.call)));
    let notes = if path.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            return Err(CliError::usage(
                what,
                "standard output is a terminal",
                "name a file with -o, or pipe it to a player",
            ));
        }
        write_wav(assembler, &repository, out, &what)?
    } else {
        to_file(assembler, &repository, &path, args.force, &what)?
    };
    let mut outcome = Outcome::Ok;
    for note in &notes {
        eprintln!("callspool: note: {}", in_words(note));
        if matches!(note, Note::Unreadable { .. }) {
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

fn chosen(call: &CallFiles, args: &ExportArgs, what: &str) -> Result<Vec<SegmentRecord>, CliError> {
    let all: Vec<SegmentRecord> = call.segments().cloned().collect();
    let Some(number) = args.segment else { return Ok(all) };
    let numbers: Vec<String> = all.iter().map(|s| s.number.to_string()).collect();
    let some: Vec<SegmentRecord> = all.into_iter().filter(|s| s.number == number).collect();
    if some.is_empty() {
        let todo = format!("choose one of {}", numbers.join(", "));
        return Err(CliError::usage(what, format!("it has no segment {number}"), todo));
    }
    Ok(some)
}

fn known(stream: StreamId, segments: &[SegmentRecord], what: &str) -> Result<StreamId, CliError> {
    if segments.iter().flat_map(|s| &s.streams).any(|s| s.id == stream) {
        return Ok(stream);
    }
    Err(CliError::usage(what, format!("it has no stream {stream}"), "see `callspool show` for its streams"))
}

/// A file that exists stays as it is until the new one is whole.
fn to_file(
    assembler: Assembler,
    repository: &Repository,
    path: &Path,
    force: bool,
    what: &str,
) -> Result<Vec<Note>, CliError> {
    if path.exists() && !force {
        let why = format!("{} exists already", path.display());
        return Err(CliError::usage(what, why, "choose another name, or write over it with --force"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let place = || format!("cannot write {}", beside.display());
    // Voices of people: for their owner alone.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let written = file.map_err(|e| file_error(place(), &e)).and_then(|file: File| {
        let mut out = BufWriter::new(file);
        let notes = write_wav(assembler, repository, &mut out, what)?;
        out.flush().map_err(|e| file_error(place(), &e))?;
        std::fs::rename(&beside, path)
            .map_err(|e| file_error(format!("cannot write {}", path.display()), &e))?;
        Ok(notes)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn write_wav(
    mut assembler: Assembler,
    repository: &Repository,
    out: &mut dyn Write,
    what: &str,
) -> Result<Vec<Note>, CliError> {
    let samples = assembler.total_samples();
    let head = spool::wav::wav_header(assembler.channels(), assembler.sample_rate(), samples);
    out.write_all(&head).map_err(CliError::output)?;
    let bar = progress::bar(samples, "exporting");
    let channels = u64::from(assembler.channels().max(1));
    loop {
        let step = assembler.next(repository);
        let step =
            step.map_err(|e| CliError::failed(what, e, "check the recording with `callspool verify`"))?;
        let Some(step) = step else { break };
        let bytes: Vec<u8> = step.iter().flat_map(|s| s.to_le_bytes()).collect();
        out.write_all(&bytes).map_err(CliError::output)?;
        bar.inc(step.len() as u64 / channels);
    }
    bar.finish_and_clear();
    Ok(assembler.notes().to_vec())
}

fn in_words(note: &Note) -> String {
    match note {
        Note::Unreadable { path, why } => {
            format!("{path} cannot be read ({why}); there is silence in its place")
        }
        Note::NotDecoded { stream, codec } => {
            format!("stream {stream} is in {codec}, which is not decoded; there is silence in its place")
        }
        Note::TooLate { stream } => {
            format!("stream {stream} has packets far from their place in the file; they are left out")
        }
    }
}
