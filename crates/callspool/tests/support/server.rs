//! A callspool of the test's own: its directory, its ports, its configuration by environment.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use super::ports::Ports;
use super::program::{Done, Program, run};
use super::{PATIENCE, http, wait_until};

/// A linger that no test has to wait for; the default is for clients that hang up on hold.
const LINGER: &str = "300ms";

/// The server, and what surrounds it.
pub struct Server {
    directory: TempDir,
    ports: Ports,
    settings: Vec<(String, String)>,
    program: Option<Program>,
    starts: u32,
    /// Descriptors that it may have; as many as this process when not said.
    descriptors: Option<u64>,
    /// Where it looks for other programs; where this process does when not said.
    path: Option<String>,
}

impl Server {
    /// With the defaults, apart from addresses and the linger.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With settings, `("MEDIA__MEDIA_TIMEOUT", "2s")`.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare(settings);
        server.restart();
        server
    }

    /// The surroundings alone; nothing runs.
    pub fn prepare(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("callspool-e2e-").tempdir().expect("a directory");
        let ports = Ports::claim();
        // It goes before a file elsewhere on this machine.
        std::fs::write(directory.path().join("callspool.toml"), "").expect("an empty configuration");
        let (sip, media) = (ports.sip(), ports.media());
        let addresses = format!("127.0.0.1:{sip},[::1]:{sip}");
        let mut all: Vec<(String, String)> = [
            ("NODE__DATA_DIR", directory.path().join("state").display().to_string()),
            ("SIP__UDP", addresses.clone()),
            ("SIP__TCP", addresses),
            ("MEDIA__LISTEN_V4", "127.0.0.1".to_owned()),
            ("MEDIA__LISTEN_V6", "::1".to_owned()),
            ("MEDIA__PORT_MIN", media.0.to_string()),
            ("MEDIA__PORT_MAX", media.1.to_string()),
            ("API__LISTEN", format!("127.0.0.1:{}", ports.http())),
            ("RECORDING__LINGER", LINGER.to_owned()),
            ("RECORDING__MIN_FREE_SPACE", "1MiB".to_owned()),
            ("NODE__SHUTDOWN_GRACE", "500ms".to_owned()),
            ("LOG__LEVEL", "debug,sqlx=warn".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec();
        // Any test of this kind runs over any source.
        if let Ok(source) = std::env::var("CALLSPOOL_TEST_SOURCE") {
            all.push(("MEDIA__SOURCE".to_owned(), source));
        }
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Self { directory, ports, settings: all, program: None, starts: 0, descriptors: None, path: None }
    }

    /// Another setting, for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// So many descriptors and no more, for the next start.
    pub fn allow_descriptors(&mut self, count: u64) {
        self.descriptors = Some(count);
    }

    /// No other programs, from the next start on.
    pub fn without_programs(&mut self) {
        self.path = Some("/nonexistent".to_owned());
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.program.as_ref().expect("it runs").id()
    }

    /// Starts it (again, after `kill` or `stop`) and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.program.is_none(), "it runs");
        self.starts += 1;
        let mut command = match self.descriptors {
            None => self.command(),
            Some(count) => self.command_by("prlimit", &[&format!("--nofile={count}:{count}")]),
        };
        command.arg("serve").envs(self.path.iter().map(|path| ("PATH", path)));
        let mut program = Program::start(command, &self.log_path());
        let address = self.http_address();
        let mut answer = || {
            if let Some(status) = program.ended() {
                panic!("callspool did not start ({status}):\n{}", program.output());
            }
            match http::get(&address, "/healthz", &[]) {
                // The page is there before the sockets of SIP are.
                Ok(response) if response.status == 200 && program.output().contains(" is ready") => Ok(()),
                Ok(response) => {
                    Err(format!("status {}, and it does not say that it is ready", response.status))
                }
                Err(e) => Err(e.to_string()),
            }
        };
        wait_until("callspool to be ready, and to answer on /healthz", PATIENCE, &mut answer);
        self.program = Some(program);
    }

    /// Ends it as a crash does (SIGKILL).
    pub fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Ends it as an operator does (SIGTERM).
    pub fn stop(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("it runs");
        program.terminate();
        program.wait(PATIENCE)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end that somebody else asked for.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.program.take().expect("it runs").wait(PATIENCE)
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(|p| p.ended().is_none())
    }

    /// A command line of callspool in these surroundings.
    pub fn command(&self) -> Command {
        self.surrounded(Command::new(env!("CARGO_BIN_EXE_callspool")))
    }

    /// The same, started by another program, which becomes callspool.
    pub fn command_by(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).arg(env!("CARGO_BIN_EXE_callspool"));
        self.surrounded(command)
    }

    fn surrounded(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CALLSPOOL_") {
                command.env_remove(name);
            }
        }
        command.envs(self.settings.iter().map(|(key, value)| (format!("CALLSPOOL_{key}"), value)));
        command.current_dir(self.directory.path());
        command
    }

    /// Runs a command of callspool to its end.
    pub fn callspool(&self, arguments: &[&str]) -> Done {
        let mut command = self.command();
        command.args(arguments);
        run(command, PATIENCE)
    }

    /// A place for files of the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where it keeps what it keeps.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Ports for programs that talk to it.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// `127.0.0.1:<port>` of SIP.
    pub fn sip_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sip())
    }

    /// `127.0.0.1:<port>` of the page.
    pub fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.http())
    }

    /// Everything that it has logged since it was last started.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join(format!("serve-{}.log", self.starts))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() && self.starts > 0 {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
            eprintln!("── the end of callspool's log ──\n{}\n──", tail.join("\n"));
        }
        if let Some(mut program) = self.program.take() {
            program.terminate();
            let end = std::time::Instant::now() + Duration::from_secs(3);
            while program.ended().is_none() && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Enough for what one test does.
const LOG_LINES: usize = 120;
