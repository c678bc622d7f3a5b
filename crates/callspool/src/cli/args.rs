//! The command line: what may be written, and the help that explains it. Nothing is done here.

mod bench;
mod call;
mod cert;
mod gather;
mod recordings;
mod trunks;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use model::{CallId, Side, StreamId, Suite, TenantId, VolumeName};

pub(crate) use bench::{BenchArgs, BenchOnly};
pub(crate) use call::{CallArgs, CallCodec, CallSrtp, CallTransport};
pub(crate) use cert::{CertArgs, CertAuthorityArgs, CertCommand, CertNodeArgs};
pub(crate) use gather::GatherArgs;
pub(crate) use recordings::{
    AlarmsArgs, ExportArgs, ExportFormat, ListenArgs, LsArgs, ReindexArgs, ShowArgs, VerifyArgs,
};
pub(crate) use trunks::{DigestAlgorithm, PasswordArgs, TrunksArgs, TrunksCommand};

use super::values;

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
    /// Give the keys of an encrypted stream of a call, whose client cannot give them itself
    Keys(KeysArgs),
    /// Say who of a call is the agent and who is external, when that was recorded wrongly
    Sides(SidesArgs),
    /// Say that two calls are one, which nothing showed
    Join(JoinArgs),
    /// Say what is left to be gathered from other record servers, or have it gathered now
    Gather(GatherArgs),
    /// Place test calls to a recorder and report what it answered
    Call(Box<CallArgs>),
    /// Find out how many calls this machine takes: place more and more until a limit is crossed
    Bench(Box<BenchArgs>),
    /// List calls, newest first
    Ls(LsArgs),
    /// List what is wrong now, or what was; exit code 1 when something critical is
    Alarms(AlarmsArgs),
    /// Show all that is known of one call
    Show(ShowArgs),
    /// Write a call as a WAV, MP3, Opus or FLAC file: agent left, external right, gaps as silence; or with its video, as Matroska or WebM
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
    /// Make certificates by which the nodes of a cluster prove who they are
    Cert(CertArgs),
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
go on for node.shutdown_grace, then they are ended with BYE and sealed. Where there are other
proxies, those carry them on.")]
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

/// `callspool keys`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The key is read from standard input, a line as a=crypto has it (RFC 4568): inline:, base64 of master key and salt,
optionally lifetime and identifier; of several, with ; between. The trunk of the call must say that keys come this
way (keys). Given again they replace those before.

Example:
  vault read -field=key secret/call | callspool keys 06jv3kq4g2n00 06jv3kq4g2n02 --suite AES_CM_128_HMAC_SHA1_80")]
pub(crate) struct KeysArgs {
    /// The call, by its id as `callspool ls --live` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// The stream, by its id as `callspool show` prints it
    #[arg(value_name = "STREAM")]
    pub(crate) stream: StreamId,
    /// The cipher, as SDP names it
    #[arg(long, value_name = "NAME", value_parser = call::suite)]
    pub(crate) suite: Suite,
    /// How often the sequence number has rolled over; else it is found by trying
    #[arg(long, value_name = "COUNT")]
    pub(crate) rollovers: Option<u32>,
    /// Whose call it is; else of `recording.tenant`
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<TenantId>,
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool sides`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is said replaces what was said before. Nothing that was recorded changes: players, files, parties and
direction follow, also of what is still to be recorded of the call. `callspool show` has the history.

Examples:
  callspool sides 06jv3kq4g2n00 --swap
  callspool sides 06jv3kq4g2n00 --stream 06jv3kq4g2n02=agent --stream 06jv3kq4g2n03=external")]
pub(crate) struct SidesArgs {
    /// The call, by its id as `callspool ls` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// Agent and external were taken for each other
    #[arg(long)]
    pub(crate) swap: bool,
    /// Whose voice a stream carries, by its id as `callspool show` prints it: agent, external, mixed or unknown; once
    /// for each stream
    #[arg(long, value_name = "ID=SIDE", value_parser = super::sides::stream)]
    pub(crate) stream: Vec<(StreamId, Side)>,
    /// They were not: all is as it was recorded
    #[arg(long, conflicts_with_all = ["swap", "stream"])]
    pub(crate) as_recorded: bool,
    /// Whose call it is; else of `recording.tenant`
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<TenantId>,
    /// The answer as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `callspool join`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The call of the lower id survives, and the other id leads to it; its segments follow. Nothing that was recorded
changes, and `callspool show` says who joined them. It cannot be undone.

Example:
  callspool join 06jv3kq4g2n00 06jv3kr8m2n00")]
pub(crate) struct JoinArgs {
    /// The one call, by its id as `callspool ls` prints it
    #[arg(value_name = "CALL")]
    pub(crate) call: CallId,
    /// The other
    #[arg(value_name = "OTHER")]
    pub(crate) other: CallId,
    /// Whose calls they are; else of `recording.tenant`
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
