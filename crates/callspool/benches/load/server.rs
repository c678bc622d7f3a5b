//! `callspool serve`, started for a measurement, alone on its core, in a directory of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bare::Source;
use crate::figures::Figures;
use crate::machine::Cores;
use crate::{Failure, machine};

/// Where it is found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) sip: &'static str,
    pub(crate) page: &'static str,
    /// Its media ports, the first and the last: above those for SIP and pages. The bare receiver has those between the two
    /// ranges.
    ports: [&'static str; 2],
}

impl Place {
    pub(crate) const FIRST: Self =
        Self { sip: "127.0.0.1:15060", page: "127.0.0.1:15080", ports: ["16384", "32767"] };
    /// Of a second one, beside the first.
    pub(crate) const SECOND: Self =
        Self { sip: "127.0.0.1:15062", page: "127.0.0.1:15082", ports: ["49152", "65535"] };
}

/// What it says, in its directory.
const LOG: &str = "log";
/// Longer than it needs.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(60);

/// Beside these it runs with its defaults. The limits are those that a measurement reaches.
const SETTINGS: &[(&str, &str)] = &[
    ("SIP__MAX_SESSIONS", "20000"),
    ("SIP__MAX_REQUESTS_PER_SOURCE", "0"),
    ("MEDIA__LISTEN_V4", "127.0.0.1"),
    ("MEDIA__LISTEN_V6", ""),
    ("MEDIA__MEDIA_TIMEOUT", "0s"),
    ("RECORDING__MAX_CALLS", "20000"),
    ("LOG__LEVEL", "warn"),
];

/// What else it goes by, for all that are started.
static SET: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Settings beside those that are always given, `media.source=…`.
pub(crate) fn go_by(settings: &[(String, String)]) {
    let named = settings.iter().map(|(key, value)| (key.to_uppercase().replace('.', "__"), value.clone()));
    // It is said once, before anything is started.
    let _ = SET.set(named.collect());
}

pub(crate) struct Server {
    child: Child,
    directory: tempfile::TempDir,
    place: Place,
}

impl Server {
    pub(crate) fn start(cores: Cores) -> Result<Self, Failure> {
        Self::start_in(cores, directory()?)
    }

    /// One that receives media over this source, or an error.
    pub(crate) fn start_over(place: Place, cores: Cores, source: Source) -> Result<Self, Failure> {
        let server = Self::start_as(place, cores, directory()?, &[("MEDIA__SOURCE", source.name())])?;
        // It is opened after the page and SIP are up.
        let (family, until) = ("callspool_media_source{source=\"", Instant::now() + START);
        while Instant::now() < until {
            let metrics = server.metrics()?;
            match metrics.lines().find_map(|line| line.strip_prefix(family)?.split('"').next()) {
                Some(used) if used == source.name() => return Ok(server),
                // It receives over another where this one is not to be had.
                Some(_) => return Err(format!("this machine does not allow {source}").into()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("callspool did not say how it receives media".into())
    }

    /// With what lies in the directory already.
    pub(crate) fn start_in(cores: Cores, directory: tempfile::TempDir) -> Result<Self, Failure> {
        Self::start_as(Place::FIRST, cores, directory, &[])
    }

    fn start_as(
        place: Place,
        cores: Cores,
        directory: tempfile::TempDir,
        more: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let Place { sip, page, ports: [port_min, port_max] } = place;
        if TcpStream::connect(sip).is_ok() || TcpStream::connect(page).is_ok() {
            return Err(format!("somebody listens at {sip} or {page} already").into());
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_callspool"));
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null());
        let own = [
            ("SIP__UDP", sip),
            ("SIP__TCP", sip),
            ("API__LISTEN", page),
            ("MEDIA__PORT_MIN", port_min),
            ("MEDIA__PORT_MAX", port_max),
        ];
        for (name, value) in own.iter().chain(SETTINGS) {
            command.env(format!("CALLSPOOL_{name}"), value);
        }
        for (name, value) in SET.get().into_iter().flatten() {
            command.env(format!("CALLSPOOL_{name}"), value);
        }
        for (name, value) in more {
            command.env(format!("CALLSPOOL_{name}"), value);
        }
        command.env("CALLSPOOL_NODE__DATA_DIR", directory.path());
        command.stderr(std::fs::File::create(directory.path().join(LOG))?);
        let child = machine::on(cores, || command.spawn())?;
        let mut server = Self { child, directory, place };
        server.wait_until_up()?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it is called.
    pub(crate) fn sip(&self) -> Result<SocketAddr, Failure> {
        Ok(self.place.sip.parse()?)
    }

    /// What it says of itself.
    pub(crate) fn figures(&self) -> Result<Figures, Failure> {
        Ok(Figures::read(&self.metrics()?, Instant::now()).ok_or("no figures at /metrics")?)
    }

    fn metrics(&self) -> Result<String, Failure> {
        let token = std::fs::read_to_string(self.directory.path().join("token"))?;
        let mut stream = TcpStream::connect(self.place.page)?;
        let (token, page) = (token.trim(), self.place.page);
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {page}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.directory.path().join("repository")
    }

    /// Stops it as an operator would; what it was given is sealed then.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.terminate();
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(format!("callspool: {status}").into()) };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("callspool did not stop".into())
    }

    fn wait_until_up(&mut self) -> Result<(), Failure> {
        let Place { sip, page, .. } = self.place;
        let (page, until): (SocketAddr, _) = (page.parse()?, Instant::now() + START);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(self.directory.path().join(LOG))?;
                return Err(format!("callspool did not start: {status}\n{log}").into());
            }
            if TcpStream::connect(page).is_ok() && TcpStream::connect(sip).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("callspool did not start in time".into())
    }

    fn terminate(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

fn directory() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("callspool-bench.").tempdir()
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
