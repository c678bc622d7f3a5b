//! What may be written behind the commands that look at recordings: list, show, export, hear, verify, index.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model::{CallId, RecordingState, StreamId, TenantId};

use super::super::values::{self, Since};

/// `callspool ls`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  callspool ls
  callspool ls --live
  callspool ls --state partial-external-error --since 2h
  callspool ls --json --limit 1000 | jq -r .id")]
pub(crate) struct LsArgs {
    /// Only calls that are being recorded
    #[arg(long)]
    pub(crate) live: bool,
    /// Only calls in this state, by name or code (see `callspool states`)
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Option<RecordingState>,
    /// The calls of this tenant; else of `recording.tenant`
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<TenantId>,
    /// Only calls that began then or later: 2h (ago), 2026-11-20, 2026-11-20T09:15:00Z
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    pub(crate) since: Option<Since>,
    /// Only calls with this text in a number, name or other call data
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// An object per call, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool alarms`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  callspool alarms
  callspool alarms --all --limit 20
  callspool alarms --json | jq -r .kind
  callspool alarms >/dev/null || echo 'something critical'")]
pub(crate) struct AlarmsArgs {
    /// Also incidents, and conditions that are over
    #[arg(long)]
    pub(crate) all: bool,
    /// How many alarms
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// An object per alarm, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool show`
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  callspool show 06jv3kq4g2n00")]
pub(crate) struct ShowArgs {
    /// The call's id, as `callspool ls` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// Everything as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// A kind of file that a call is exported as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// PCM of 16 bits
    Wav,
    /// MP3 of a constant bit rate, made by the program lame
    Mp3,
    /// Opus in Ogg, of a constant bit rate
    Opus,
    /// FLAC, without loss
    Flac,
    /// Video as it was sent, and what was said as Opus, in Matroska
    Mkv,
    /// The same in WebM, where the video is VP8 or VP9
    Webm,
}

/// `callspool export`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  callspool export 06jv3kq4g2n00 -o call.mp3
  callspool export 06jv3kq4g2n00 --mix -o - | aplay
  callspool export 06jv3kq4g2n00 --format opus --bitrate 24 -o - > call.opus
  callspool export 06jv3kq4g2n00 --segment 2 --rate 16000 -o second.flac")]
pub(crate) struct ExportArgs {
    /// The call's id, as `callspool ls` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// The file; `-` is standard output; else `<CALL>.<FORMAT>` here
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The kind of file; else what the file's name ends with, else WAV
    #[arg(long, value_enum)]
    pub(crate) format: Option<ExportFormat>,
    /// Samples per second [default: the highest of what was received]
    #[arg(long, value_name = "HZ", value_parser = ["8000", "16000", "48000"])]
    pub(crate) rate: Option<String>,
    /// kbit/s of MP3 and Opus [default: as much as good speech takes]
    #[arg(long, value_name = "KBIT/S")]
    pub(crate) bitrate: Option<u16>,
    /// Both sides in one channel
    #[arg(long, visible_alias = "mono", conflicts_with_all = ["stereo", "stream"])]
    pub(crate) mix: bool,
    /// Agent left, external right (the default)
    #[arg(long, conflicts_with = "stream")]
    pub(crate) stereo: bool,
    /// Only this stream (see `callspool show`)
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<StreamId>,
    /// Only the segment with this number
    #[arg(long, value_name = "N")]
    pub(crate) segment: Option<u16>,
    /// Write who took part into the file's tags, beside the call's id and its beginning
    #[arg(long)]
    pub(crate) parties: bool,
    /// Write over a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// `callspool listen`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It asks the running callspool (api.listen, api.token_file). Holds and pauses are silence. Ctrl-C ends it.

Examples:
  callspool listen 06jv3kq4g2n00 --play
  callspool listen 06jv3kq4g2n00 --mix | aplay
  callspool listen 06jv3kq4g2n00 -o live.wav")]
pub(crate) struct ListenArgs {
    /// The call's id, as `callspool ls --live` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// The file; else standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "play")]
    pub(crate) output: Option<PathBuf>,
    /// Play it, by ffplay or aplay, whichever is there
    #[arg(long)]
    pub(crate) play: bool,
    /// Both sides in one channel
    #[arg(long, visible_alias = "mono", conflicts_with_all = ["stereo", "stream"])]
    pub(crate) mix: bool,
    /// Agent left, external right (the default)
    #[arg(long, conflicts_with = "stream")]
    pub(crate) stereo: bool,
    /// Only this stream (see `callspool show`)
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<StreamId>,
    /// Samples per second
    #[arg(long, value_name = "HZ", default_value = "16000", value_parser = ["8000", "16000", "48000"])]
    pub(crate) rate: String,
    /// Write over a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// `callspool verify`
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  callspool verify 06jv3kq4g2n00\n  callspool verify --all --json")]
pub(crate) struct VerifyArgs {
    /// The call's id
    #[arg(value_name = "CALL", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) call: Option<CallId>,
    /// Every call in the repository
    #[arg(long)]
    pub(crate) all: bool,
    /// An object per finding and one for all, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool reindex`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The recordings are only read. While `callspool serve` runs on the same repository it refuses to; serve does it\nby itself when its catalog is gone."
)]
pub(crate) struct ReindexArgs {
    /// The result as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn state(text: &str) -> Result<RecordingState, String> {
    let by_code = text.parse().ok().and_then(RecordingState::from_code);
    by_code.or_else(|| text.parse().ok()).ok_or_else(|| match nearest_state(text) {
        Some(near) => format!("there is no such state; did you mean {near}?"),
        None => "there is no such state; see `callspool states`".to_owned(),
    })
}

fn nearest_state(text: &str) -> Option<&'static str> {
    let distance = |s: &RecordingState| strsim::damerau_levenshtein(text, s.name());
    RecordingState::ALL.iter().min_by_key(|s| distance(s)).filter(|s| distance(s) <= 4).map(|s| s.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_known_by_name_and_code() {
        assert_eq!(
            (state("complete"), state("3")),
            (Ok(RecordingState::Complete), Ok(RecordingState::PartialExternalError))
        );
        assert!(state("complet").unwrap_err().contains("did you mean complete?"));
        assert!(state("32").is_err());
    }
}
