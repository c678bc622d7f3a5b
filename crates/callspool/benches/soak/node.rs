//! `callspool serve` with its defaults but for addresses, in a directory of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Failure;
use crate::figures::Figures;
use crate::machine::Cores;
use crate::options::{Callers, Options};

/// Where it receives SIP, and where its page is.
pub(crate) const SIP: &str = "127.0.0.1:16060";
pub(crate) const PAGE: &str = "127.0.0.1:16080";
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(60);
/// Lines of the log that are shown.
const LOG_LINES: usize = 5;

const SETTINGS: &[(&str, &str)] = &[
    ("SIP__UDP", SIP),
    ("SIP__TCP", SIP),
    ("API__LISTEN", PAGE),
    ("MEDIA__LISTEN_V4", "127.0.0.1"),
    ("MEDIA__LISTEN_V6", ""),
    ("MEDIA__MEDIA_TIMEOUT", "10s"),
    ("RECORDING__LINGER", "1s"),
    ("LOG__LEVEL", "warn"),
];

/// And these for many calls at a time: the limits are those that they reach.
const FOR_MANY: &[(&str, &str)] = &[
    ("SIP__MAX_SESSIONS", "100000"),
    ("SIP__MAX_REQUESTS_PER_SOURCE", "0"),
    ("MEDIA__PORT_MIN", "17000"),
    ("MEDIA__PORT_MAX", "60999"),
    ("RECORDING__MAX_CALLS", "100000"),
];

pub(crate) struct Node {
    child: Child,
    directory: tempfile::TempDir,
    /// Which processors it has, and which the traffic: all of them for both, where few calls are made.
    cores: Cores,
}

impl Node {
    /// Starts it.
    pub(crate) fn start(options: &Options, callers: Callers) -> Result<Self, Failure> {
        if TcpStream::connect(SIP).is_ok() || TcpStream::connect(PAGE).is_ok() {
            return Err(format!("somebody listens at {SIP} or {PAGE} already").into());
        }
        let directory = tempfile::Builder::new().prefix("callspool-soak.").tempdir_in(&options.dir)?;
        let is_for_many = matches!(callers, Callers::Many { .. });
        let mut serve = command(&directory);
        // Ctrl-C is for us: calls are hung up before it is stopped.
        serve.arg("serve").process_group(0);
        let beside =
            options.set.iter().map(|(key, value)| (key.to_uppercase().replace('.', "__"), value.clone()));
        let for_many =
            FOR_MANY.iter().filter(|_| is_for_many).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        serve.envs(for_many.chain(beside).map(|(name, value)| (format!("CALLSPOOL_{name}"), value)));
        let cores = if is_for_many { Cores::divided(None) } else { Cores::default() };
        let mut node = Self { child: cores.start(serve)?, directory, cores };
        let until = Instant::now() + START;
        while Instant::now() < until {
            if let Some(status) = node.child.try_wait()? {
                return Err(format!("callspool did not start: {status}\n{}", node.log()).into());
            }
            if ask("GET", "/readyz", "", "").is_ok_and(|(status, _)| status == 200) {
                return Ok(node);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("callspool does not answer\n{}", node.log()).into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Threads that send: signalling and the page have some of the traffic's processors too.
    pub(crate) fn senders(&self) -> usize {
        (self.cores.for_traffic() / 2).max(1)
    }

    /// What it says of itself.
    pub(crate) fn figures(&self) -> Result<Figures, Failure> {
        let (_, answer) = ask("GET", "/metrics", &self.token()?, "")?;
        Ok(Figures::read(&String::from_utf8_lossy(&answer), Instant::now())
            .ok_or("no figures at /metrics")?)
    }

    /// What it says of itself once all that it was given is sealed.
    pub(crate) fn figures_when_sealed(&self) -> Result<Figures, Failure> {
        let until = Instant::now() + STOP;
        loop {
            let figures = self.figures()?;
            if figures.segments == 0 {
                return Ok(figures);
            }
            if Instant::now() > until {
                return Err(format!("{} segments are not sealed", figures.segments).into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn token(&self) -> Result<String, Failure> {
        Ok(std::fs::read_to_string(self.directory.path().join("token"))?.trim().to_owned())
    }

    /// A command line of callspool; what it writes is dropped.
    pub(crate) fn command(&self) -> Command {
        command(&self.directory)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Stops it as an operator would; what is to be said of it, unless it or what it recorded is not sound.
    pub(crate) fn stop(mut self) -> Result<String, Failure> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let until = Instant::now() + STOP;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > until => return Err("callspool did not stop".into()),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let mut verify = self.command();
        let verified = verify.args(["verify", "--all"]).stdout(Stdio::null()).status()?;
        let log = self.log();
        if !status.success() || !verified.success() {
            return Err(format!("callspool ended with {status}, verify --all with {verified}\n{log}").into());
        }
        let octets = octets_below(&self.directory.path().join("repository"));
        Ok(format!(
            "{} lines in the log from warnings on, {} MiB recorded, all of it sound{}",
            log.lines().count(),
            octets >> 20,
            log.lines().take(LOG_LINES).map(|line| format!("\n  {line}")).collect::<String>()
        ))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cores.give_back();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(directory: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callspool"));
    for (name, value) in SETTINGS {
        command.env(format!("CALLSPOOL_{name}"), value);
    }
    command.env("CALLSPOOL_NODE__DATA_DIR", directory.path()).current_dir(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match std::fs::File::options().create(true).append(true).open(directory.path().join("log")) {
        Ok(log) => command.stderr(log),
        Err(_) => command.stderr(Stdio::null()),
    };
    command
}

fn octets_below(path: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => octets_below(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}

/// Asks the page for something, on a connection of its own: the status and the whole answer.
pub(crate) fn ask(method: &str, path: &str, token: &str, body: &str) -> Result<(u16, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect(PAGE)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let content = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {PAGE}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         {content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
    let status = status.ok_or("no HTTP")?;
    if !is_whole(&answer) {
        return Err("the answer broke off".into());
    }
    Ok((status, answer))
}

/// Whether an answer is as long as its head says (RFC 9112 section 6).
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let (head, body) = answer.split_at(head + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    match header("content-length").map(|length| length.trim().parse::<usize>()) {
        Some(length) => length == Ok(body.len()),
        None => header("transfer-encoding").is_none() || body.ends_with(b"0\r\n\r\n"),
    }
}
