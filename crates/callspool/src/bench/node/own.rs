//! A callspool of our own: `callspool serve` in a new directory, on loopback, on ports that nobody has.
//!
//! It inherits no setting of the machine's configuration: no webhook is told, no volume written to. It is ended by
//! its id, whatever becomes of the measurement, and its directory goes with it.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::machine::{self, Cores};
use crate::cli::args::BenchArgs;
use crate::cli::{CliError, file_error};

/// Longer than it needs.
const START: Duration = Duration::from_secs(20);
/// For sealing what is open.
const STOP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// What it says.
const LOG: &str = "log";
/// Its last words, when it did not start.
const LAST_WORDS: usize = 600;
/// What settings are called in the environment.
const PREFIX: &str = "CALLSPOOL_";

/// What is left of a disk: a tenth of it and 1 GiB.
const KEPT_PART: u64 = 10;
const KEPT: u64 = 1 << 30;

/// Behind the ports of media.
const PORTS_FROM: u16 = 61_000;

/// Beside these it runs with its defaults. The limits are those that a measurement would reach before the machine does.
const SETTINGS: &[(&str, &str)] = &[
    ("SIP__MAX_SESSIONS", "100000"),
    ("SIP__MAX_REQUESTS_PER_SOURCE", "0"),
    ("MEDIA__LISTEN_V4", "127.0.0.1"),
    ("MEDIA__LISTEN_V6", ""),
    ("MEDIA__PORT_MIN", "10000"),
    ("MEDIA__PORT_MAX", "60999"),
    // Should this process be killed, its calls end nevertheless.
    ("MEDIA__MEDIA_TIMEOUT", "30s"),
    ("RECORDING__MAX_CALLS", "100000"),
    ("LOG__LEVEL", "warn"),
];

pub(crate) struct Own {
    child: Child,
    pub(super) sip: SocketAddr,
    pub(super) page: SocketAddr,
    directory: tempfile::TempDir,
    pub(crate) cores: Cores,
}

impl Own {
    pub(super) fn start(args: &BenchArgs) -> Result<Self, CliError> {
        if let Some(id) = machine::recorder()
            && !args.among_real_calls
        {
            let why =
                format!("process {id} is a callspool that runs here, and would share processors and disk");
            let todo = "stop it, measure elsewhere, or say --among-real-calls if its calls may be lost";
            return Err(CliError::failed("nothing is measured", why, todo));
        }
        let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("callspool-bench.").tempdir_in(&parent);
        let in_parent = |e: &std::io::Error| file_error(format!("cannot record in {}", parent.display()), e);
        let directory = made.map_err(|e| in_parent(&e))?;
        let failed = |e: std::io::Error| {
            CliError::failed("cannot start a callspool of its own", e, "check ulimit -n and ulimit -u")
        };
        let (sip, page) = free_ports().map_err(failed)?;
        let command = command(directory.path(), sip, page, &args.set).map_err(|e| in_parent(&e))?;
        let cores = Cores::divided(args.cores);
        let child = cores.start(command).map_err(failed)?;
        let mut own = Self { child, sip, page, directory, cores };
        own.wait_until_up()?;
        Ok(own)
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// Whether so many octets can be written, with something left for everybody else.
    pub(crate) fn has_room(&self, octets: u64) -> bool {
        machine::room(self.directory.path())
            .is_none_or(|(free, all)| free.saturating_sub(octets) > all / KEPT_PART + KEPT)
    }

    /// What kind of file system it records on.
    pub(crate) fn disk(&self) -> String {
        machine::file_system(self.directory.path())
    }

    fn wait_until_up(&mut self) -> Result<(), CliError> {
        let until = Instant::now() + START;
        let what = "the callspool that was started for measuring does not run";
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default();
                let from = log.len().saturating_sub(LAST_WORDS);
                let said = log.get(log.ceil_char_boundary(from)..).unwrap_or_default();
                return Err(CliError::failed(
                    what,
                    format!("{status}: {said}"),
                    "correct --set, or report this",
                ));
            }
            if TcpStream::connect(self.page).is_ok() && self.token_file().exists() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(CliError::failed(what, "it does not answer", "try it when the machine has less to do"))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Another one that is measured divides them anew.
        self.cores.give_back();
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // As an operator would stop it; what it was given is sealed then.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(
    directory: &Path,
    sip: SocketAddr,
    page: SocketAddr,
    set: &[(String, String)],
) -> std::io::Result<Command> {
    // Named, so that none of the machine's is read.
    let config = directory.join("callspool.toml");
    std::fs::write(&config, "")?;
    let log = std::fs::File::create(directory.join(LOG))?;
    let itself = std::env::current_exe()?;
    // When this process is killed, so that it cannot stop its child, the kernel does.
    let mut command = match Command::new("setpriv").arg("--version").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM"]).arg(itself);
            command
        }
        _ => Command::new(itself),
    };
    command.arg("serve").arg("--config").arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // Ctrl-C is for us: calls are hung up before it is stopped.
    command.process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(PREFIX) {
            command.env_remove(name);
        }
    }
    let own = [
        ("NODE__DATA_DIR", directory.display().to_string()),
        ("SIP__UDP", sip.to_string()),
        ("SIP__TCP", sip.to_string()),
        ("API__LISTEN", page.to_string()),
    ];
    let fixed = SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in own.into_iter().chain(fixed) {
        command.env(format!("{PREFIX}{name}"), value);
    }
    for (key, value) in set {
        command.env(format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")), value);
    }
    Ok(command)
}

/// Two ports behind those of media that nobody has at the moment.
fn free_ports() -> std::io::Result<(SocketAddr, SocketAddr)> {
    // Two measurements at once begin to look in different places.
    let begin = u16::try_from(std::process::id() % u32::from(u16::MAX - PORTS_FROM)).unwrap_or(0);
    let all = (PORTS_FROM + begin..=u16::MAX).chain(PORTS_FROM..PORTS_FROM + begin);
    let is_free =
        |address: &SocketAddr| TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
    let mut free = all.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).filter(is_free);
    match (free.next(), free.next()) {
        (Some(sip), Some(page)) => Ok((sip, page)),
        _ => Err(std::io::Error::other(format!("all ports of 127.0.0.1 from {PORTS_FROM} on are taken"))),
    }
}
