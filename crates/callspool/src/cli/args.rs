//! The command line: what may be written, and the help that explains it. Nothing is done here.

mod trunks;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::{CallId, RecordingState, StreamId, TenantId, VolumeName};

pub(crate) use trunks::{DigestAlgorithm, PasswordArgs, TrunksArgs, TrunksCommand};

use super::values::{self, HoldSpec, Since};

/// Records calls of VoIP phone systems and never loses one silently.
#[derive(Parser, Debug)]
#[command(name = "callspool", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 as asked; 1 something failed or was found; 2 the command line or the configuration is wrong."
)]
pub(crate) struct Cli {
    /// Configuration file; else ./callspool.toml, /etc/callspool/callspool.toml or the embedded default
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What callspool can be told to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Record calls: run all roles of this node until stopped
    Serve,
    /// Say what the running callspool does
    Status(AskArgs),
    /// Have the running callspool read its configuration again
    Reload(AskArgs),
    /// Have the running callspool take no new calls, while those in progress go on
    Drain(DrainArgs),
    /// Record no more of a call; or stop the running callspool, and come back when it has ended
    Stop(StopArgs),
    /// Record a call again that was stopped
    Start(OrderArgs),
    /// Keep nothing of what is said in a call until it is resumed
    Pause(PauseArgs),
    /// Record a call again that was paused
    Resume(OrderArgs),
    /// Place test calls to a recorder and report what it answered
    Call(Box<CallArgs>),
    /// List calls, newest first
    Ls(LsArgs),
    /// List what is wrong now, or what was; exit code 1 when something critical is
    Alarms(AlarmsArgs),
    /// Show all that is known of one call
    Show(ShowArgs),
    /// Write a call as a WAV, MP3, Opus or FLAC file: agent left, external right, gaps as silence
    Export(ExportArgs),
    /// Hear what is said in a call that goes on: as a WAV file that ends with it, or played
    Listen(ListenArgs),
    /// Check recordings against their digests, manifests and logs
    Verify(VerifyArgs),
    /// Rebuild the catalog from the recordings on disk
    Reindex(ReindexArgs),
    /// Write a backup of catalog, keys and configuration, beside a server that goes on
    Backup(BackupArgs),
    /// Put a backup back, and join it with the recordings that are there
    Restore(RestoreArgs),
    /// Check the configuration and print what is in effect, as a TOML file with comments
    CheckConfig(CheckConfigArgs),
    /// Check that this machine can record: limits, clock, ports, directories, space, kernel
    Doctor(DoctorArgs),
    /// Write manual pages and completions for shells, for a package
    #[command(hide = true)]
    Generate(GenerateArgs),
    /// List who may send calls, tell which trunk takes a request, set passwords
    Trunks(TrunksArgs),
    /// List the volumes that recordings lie on: state, room, days left, live segments
    Volumes(VolumesArgs),
    /// Print the recording states and the table of their transitions
    States(StatesArgs),
}

/// `callspool status`, `callspool reload`
#[derive(Args, Clone, Debug)]
pub(crate) struct AskArgs {
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool drain`
#[derive(Args, Clone, Debug)]
#[command(after_help = "New calls are refused with 503, or sent to where node.handover says.")]
pub(crate) struct DrainArgs {
    /// Take new calls again
    #[arg(long)]
    pub(crate) off: bool,
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool stop`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
With the id of a call callspool goes on, and so does the call: only its recording stops, until
`callspool start CALL`.

With --node new calls are refused with 503, or sent to where node.handover says. Calls in progress may
go on for node.shutdown_grace, then they are ended with BYE and sealed.")]
pub(crate) struct StopArgs {
    /// The call to record no more of, by its id as `callspool ls --live` prints it
    #[arg(value_name = "CALL", conflicts_with_all = ["node", "when_idle", "no_wait"])]
    pub(crate) call: Option<CallId>,
    /// Whose call it is; else of `recording.tenant`
    #[arg(long, value_name = "NAME", requires = "call")]
    pub(crate) tenant: Option<TenantId>,
    /// Stop callspool itself
    #[arg(long)]
    pub(crate) node: bool,
    /// The same, but let all calls go on to their end first, however long that takes
    #[arg(long)]
    pub(crate) when_idle: bool,
    /// Come back at once
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool start`, `callspool resume`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "It comes back when it is so. The exit code is 1 when the call cannot do it, or is over."
)]
pub(crate) struct OrderArgs {
    /// The call, by its id as `callspool ls --live` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// Whose call it is; else of `recording.tenant`
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<TenantId>,
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool pause`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It comes back when it is so: what is said from then on is not kept.

Examples:
  callspool pause 06jv3kq4g2n00 --timeout 5m
  callspool ls --live --json | jq -r .id | xargs -n 1 callspool pause")]
pub(crate) struct PauseArgs {
    /// The call, by its id as `callspool ls --live` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// Go on by itself after so long, with an alarm; 1s to 24h; else as recording.pause_timeout says
    #[arg(long, value_name = "TIME", value_parser = values::pause)]
    pub(crate) timeout: Option<Duration>,
    /// Whose call it is; else of `recording.tenant`
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<TenantId>,
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// A SIP transport of a test call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CallTransport {
    /// Datagrams
    Udp,
    /// A connection
    Tcp,
    /// A connection with TLS
    Tls,
    /// A WebSocket
    Ws,
    /// A WebSocket with TLS
    Wss,
}

impl CallTransport {
    /// As SIP has it.
    #[must_use]
    pub(crate) const fn sip(self) -> sip::Transport {
        match self {
            Self::Udp => sip::Transport::Udp,
            Self::Tcp => sip::Transport::Tcp,
            Self::Tls => sip::Transport::Tls,
            Self::Ws => sip::Transport::Ws,
            Self::Wss => sip::Transport::Wss,
        }
    }
}

/// A codec of a test call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CallCodec {
    /// G.711 mu-law
    Pcmu,
    /// G.711 A-law
    Pcma,
}

/// `callspool call`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  callspool call --to sip:rec@127.0.0.1:5060
  callspool call --to 'sip:rec@[::1]:5060;transport=tcp' --siprec --hold 2s@2s --duration 6s
  callspool call --siprec --wav agent.wav --wav external.wav
  callspool call --tone 440 --loss 2% --calls 100 --rate 20/s --json")]
pub(crate) struct CallArgs {
    /// Where to call: sip:user@host:port
    #[arg(long, value_name = "URI", default_value = "sip:callspool@127.0.0.1:5060")]
    pub(crate) to: String,
    /// Who calls
    #[arg(long, value_name = "URI", default_value = "sip:1001@callspool.invalid")]
    pub(crate) from: String,
    /// Display name of who calls
    #[arg(long, value_name = "TEXT")]
    pub(crate) from_name: Option<String>,
    /// By which transport; else the URI says, else UDP
    #[arg(long, value_enum)]
    pub(crate) transport: Option<CallTransport>,
    /// PEM file of the authorities that the server's certificate must come from; else those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust any certificate of the server: the connection then proves nothing
    #[arg(long)]
    pub(crate) insecure: bool,
    /// PEM file of a certificate to show to the server (mutual TLS)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// User to authenticate as when the server asks for it (digest)
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// File whose first line is the password; - is standard input
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// Call as a SIPREC recording client (RFC 7866) instead of plainly
    #[arg(long)]
    pub(crate) siprec: bool,
    /// INVITE without SDP; the answer goes into the ACK
    #[arg(long)]
    pub(crate) delayed_offer: bool,
    /// Streams: 2 with --siprec, else 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) streams: Option<u8>,
    /// WAV file to send, mono, 16 bit; once for each stream
    #[arg(long, value_name = "FILE", conflicts_with = "tone")]
    pub(crate) wav: Vec<PathBuf>,
    /// Tone to send; once for each stream. Without --wav and --tone it is synthetic speech
    #[arg(long, value_name = "HZ", value_parser = values::tone)]
    pub(crate) tone: Vec<f64>,
    /// From the answer to the hang-up [default: 5s, or the length of the WAV files]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) duration: Option<Duration>,
    /// Milliseconds of media in a packet
    #[arg(long, value_name = "MS", default_value = "20", value_parser = ["10", "20", "30", "40", "60"])]
    pub(crate) ptime: String,
    /// Codec
    #[arg(long, value_enum, default_value = "pcmu")]
    pub(crate) codec: CallCodec,
    /// Hold the call: 2s@3s is for 2 s, beginning 3 s after the answer; may be repeated
    #[arg(long, value_name = "LENGTH@START", value_parser = values::hold)]
    pub(crate) hold: Vec<HoldSpec>,
    /// Break off without BYE, as when a cable is pulled
    #[arg(long)]
    pub(crate) vanish: bool,
    /// Share of packets that are not sent
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) loss: f64,
    /// Share of packets that are sent after the next one
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) reorder: f64,
    /// Share of packets that are sent twice
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) duplicate: f64,
    /// Go on with a new SSRC, sequence and timestamp so long after the answer
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) ssrc_change_at: Option<Duration>,
    /// Makes loss, order and speech the same each time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,
    /// New calls per second
    #[arg(long, value_name = "N/s", default_value = "10/s", value_parser = values::rate)]
    pub(crate) rate: f64,
    /// Calls at once, at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrency: u32,
    /// How long to wait for a final answer
    #[arg(long, value_name = "TIME", default_value = "32s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// An object per call and one for all, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Only the summary
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

impl CallArgs {
    /// Milliseconds of media in a packet.
    #[must_use]
    pub(crate) fn ptime_ms(&self) -> u32 {
        self.ptime.parse().unwrap_or(20)
    }
}

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

/// `callspool backup`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The recordings are not in it. It holds secrets, and only its owner may read it.

Example:
  callspool backup -o /srv/backup/callspool-$(date +%F).tar")]
pub(crate) struct BackupArgs {
    /// The file; it must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Its manifest as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool restore`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
While `callspool serve` runs it refuses to. What was there is kept beside it, under another name. Everything is
checked before anything is changed. On a new machine:
  callspool restore callspool.tar --configuration
  callspool restore callspool.tar")]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only the configuration file, to where it was
    #[arg(long)]
    pub(crate) configuration: bool,
    /// The result as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool generate`
#[derive(Args, Clone, Debug)]
pub(crate) struct GenerateArgs {
    /// The directory for them, which must exist
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
}

/// `callspool check-config`
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  callspool check-config > callspool.toml")]
pub(crate) struct CheckConfigArgs {
    /// Values with where they come from, as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Every key with its default, unit and meaning, as Markdown
    #[arg(long, conflicts_with = "json")]
    pub(crate) reference: bool,
}

/// `callspool doctor`
#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
    /// An object per check, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool volumes`
#[derive(Args, Clone, Debug)]
#[command(after_help = "The exit code is 1 when a volume is away, full or read-only.")]
pub(crate) struct VolumesArgs {
    /// Take what is in the place of this volume for it, although it is not what was there before
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    pub(crate) accept: Option<VolumeName>,
    /// As JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool states`
#[derive(Args, Clone, Debug)]
pub(crate) struct StatesArgs {
    /// As Markdown, as the docs show it
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
    /// As a JSON object
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
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn states_are_known_by_name_and_code() {
        assert_eq!(
            (state("complete"), state("3")),
            (Ok(RecordingState::Complete), Ok(RecordingState::PartialExternalError))
        );
        assert!(state("complet").unwrap_err().contains("did you mean complete?"));
        assert!(state("32").is_err());
    }

    /// `UPDATE_EXPECT=1 cargo test -p callspool the_help` writes the document anew.
    #[test]
    fn the_help_in_the_docs_is_what_is_printed() {
        const BEGIN: &str = "<!-- help: generated -->\n\n";
        let document = include_str!("../../../../docs/cli.md");
        let (head, _) = document.split_once(BEGIN).expect("docs/cli.md marks where the help begins");
        let mut expected = format!("{head}{BEGIN}");
        let mut command = Cli::command().term_width(100);
        command.build();
        for sub in command.get_subcommands_mut().filter(|s| s.get_name() != "help" && !s.is_hide_set()) {
            let help = sub.clone().disable_help_flag(false).render_help();
            let text: String = help.to_string().lines().map(|l| format!("{}\n", l.trim_end())).collect();
            expected.push_str(&format!("## `callspool {}`\n\n```text\n{text}```\n\n", sub.get_name()));
        }
        expect_test::expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")]
            .assert_eq(&expected);
    }
}
