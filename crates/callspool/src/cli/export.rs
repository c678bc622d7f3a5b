//! `callspool export`: a call as a file to play, made from the recordings themselves.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use faults::{Operation, Share, before};
use model::{SegmentRecord, StreamId};
use spool::assemble::{Layout, Note, Options, Rate, not_shown};
use spool::export::{Export, ExportError, Format, Mp3Encoder, Request, Tags, Tools};

use super::args::{ExportArgs, ExportFormat};
use super::show::CallFiles;
use super::{CliError, Outcome, across, file_error, progress, text};
use crate::config::Config;
use crate::elsewhere::{FilesAcross, Need};
use crate::programs::{Programs, programs};

/// 256 KiB at a time: some seconds of sound.
const PIECE: usize = 256 << 10;

/// Exports it.
pub(super) fn run(config: &Config, args: &ExportArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let repository = super::repository(config)?;
    let call = CallFiles::read(config, &repository, args.call, Need::Media)?;
    let what = format!("cannot export {}", args.call);
    let segments = chosen(&call, args, &what)?;
    let layout = match args.stream {
        Some(stream) => Layout::One(known(stream, &segments, &what)?),
        None if args.mix => Layout::Mono,
        None => Layout::Stereo,
    };
    let rate = match args.rate.as_deref() {
        Some("8000") => Rate::Narrow,
        Some("16000") => Rate::Wide,
        Some(_) => Rate::Full,
        None => Rate::of(&segments),
    };
    let format = format(args, &what)?;
    if segments.iter().any(SegmentRecord::is_live) {
        eprintln!("callspool: note: the call is being recorded; this is what there is of it so far");
    }
    let programs = programs();
    if format == Format::Mp3 {
        Mp3Encoder::can(&programs)
            .map_err(|e| CliError::failed(&what, e, "install it, or take another format with --format"))?;
    }
    let request = Request {
        format,
        options: Options { rate, layout },
        bitrate: args.bitrate,
        tags: tags(args, &segments),
    };
    let chosen: Vec<_> = segments.iter().map(|s| s.id).collect();
    let placed = call.placed().into_iter().filter(|(s, _)| chosen.contains(&s.id)).collect();
    let export = Export::new(placed, &request).map_err(|e| refused(&what, &e))?;
    let work = Work { export, files: &call.across.files, programs: &programs, what: &what };
    let name = || PathBuf::from(format!("{}.{}", args.call, format.extension()));
    let path = args.output.clone().unwrap_or_else(name);
    let mut notes = if path.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            return Err(CliError::usage(
                what,
                "standard output is a terminal",
                "name a file with -o, or pipe it to a player",
            ));
        }
        work.write(out)?
    } else {
        to_file(work, &path, args.force)?
    };
    across::tell_missing(&call.across);
    let mut outcome = if call.across.missing.is_empty() { Outcome::Ok } else { Outcome::Failed };
    if matches!(format, Format::Mkv | Format::Webm) {
        notes.extend(not_shown(&segments));
    }
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
fn to_file(work: Work<'_>, path: &Path, force: bool) -> Result<Vec<Note>, CliError> {
    let what = work.what;
    if path.exists() && !force {
        let why = format!("{} exists already", path.display());
        return Err(CliError::usage(what, why, "choose another name, or write over it with --force"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let place = || format!("cannot write {}", beside.display());
    // Voices of people: for their owner alone.
    let open = |share| {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        file.map(|file| (file, share))
    };
    let file = before(Operation::Output, path).and_then(open);
    let written = file.map_err(|e| file_error(place(), &e)).and_then(|(file, share): (File, Share)| {
        let mut out = BufWriter::new(file);
        let notes = work.write(&mut out)?;
        let cut = if share == Share::Half { Err(faults::torn()) } else { Ok(()) };
        cut.and_then(|()| out.flush()).map_err(|e| file_error(place(), &e))?;
        std::fs::rename(&beside, path)
            .map_err(|e| file_error(format!("cannot write {}", path.display()), &e))?;
        Ok(notes)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// An export that is about to be written.
struct Work<'a> {
    export: Export,
    files: &'a FilesAcross,
    programs: &'a Programs,
    what: &'a str,
}

impl Work<'_> {
    fn write(mut self, out: &mut dyn Write) -> Result<Vec<Note>, CliError> {
        let tools = Tools { files: self.files, decoders: self.programs, mp3: self.programs };
        // Of FLAC and of video nobody knows how long it will be: its bar only counts.
        let bar = progress::bar(self.export.octets().unwrap_or(0), "exporting");
        let mut at = 0;
        loop {
            let piece = self.export.read(at, PIECE, &tools).map_err(|e| refused(self.what, &e))?;
            if piece.is_empty() {
                break;
            }
            out.write_all(&piece).map_err(CliError::output)?;
            at += piece.len() as u64;
            bar.set_position(at);
        }
        bar.finish_and_clear();
        Ok(self.export.notes())
    }
}

fn format(args: &ExportArgs, what: &str) -> Result<Format, CliError> {
    let extension =
        args.output.as_ref().and_then(|p| p.extension()).map(|e| e.to_string_lossy().into_owned());
    Ok(match (args.format, extension) {
        (Some(ExportFormat::Wav), _) | (None, None) => Format::Wav,
        (Some(ExportFormat::Mp3), _) => Format::Mp3,
        (Some(ExportFormat::Opus), _) => Format::Opus,
        (Some(ExportFormat::Flac), _) => Format::Flac,
        (Some(ExportFormat::Mkv), _) => Format::Mkv,
        (Some(ExportFormat::Webm), _) => Format::Webm,
        (None, Some(extension)) => Format::of_extension(&extension).ok_or_else(|| {
            let why = format!("there is no format .{}", text::clean(&extension));
            CliError::usage(what, why, "choose .wav, .mp3, .opus, .flac, .mkv or .webm, or say --format")
        })?,
    })
}

fn tags(args: &ExportArgs, segments: &[SegmentRecord]) -> Tags {
    let started = segments.iter().map(|s| s.started).min().unwrap_or_default();
    let parties = || segments.iter().map(|s| &s.data.parties).find(|p| !p.is_empty());
    let parties = args.parties.then(parties).flatten().map(|p| text::parties_in_short(p));
    Tags { call: args.call, started, parties }
}

fn refused(what: &str, error: &ExportError) -> CliError {
    match error {
        ExportError::Bitrate { .. } => CliError::usage(what, error, "choose one of them with --bitrate"),
        ExportError::TooLong(_) => CliError::failed(
            what,
            error,
            "choose another format, or export its segments one by one with --segment",
        ),
        ExportError::Missing(_) => {
            CliError::failed(what, error, "install it, or take another format with --format")
        }
        ExportError::Encoder(_) => CliError::failed(what, error, "take another format with --format"),
        ExportError::NoPictures => CliError::failed(what, error, "choose one with --format"),
        ExportError::NotInWebm(_) => CliError::failed(what, error, "choose it with --format mkv"),
        ExportError::Assemble(_) => {
            CliError::failed(what, error, "check the recording with `callspool verify`")
        }
    }
}

fn in_words(note: &Note) -> String {
    match note {
        Note::Unreadable { path, why } => {
            format!("{path} cannot be read ({why}); there is silence in its place")
        }
        Note::NotDecoded { stream, codec, why } => {
            format!("stream {stream} is in {codec}, and left out: {why}")
        }
        Note::TooLate { stream } => {
            format!("stream {stream} has packets far from their place in the file; they are left out")
        }
        Note::NotShown { stream, from_ms, until_ms } => format!(
            "stream {stream} has no pictures from {} to {} s: packets were lost, or no key frame came",
            seconds(*from_ms),
            seconds(*until_ms)
        ),
        Note::Damaged { stream, from_ms, until_ms } => format!(
            "stream {stream} has damaged pictures from {} to {} s: packets were lost, and no key frame came",
            seconds(*from_ms),
            seconds(*until_ms)
        ),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}
