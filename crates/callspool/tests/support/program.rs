//! Programs that tests start: each is ended by its id, at the latest when its value goes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Which package of Debian brings a program.
const PACKAGES: [(&str, &str); 12] = [
    ("bindfs", "bindfs"),
    ("dpkg-deb", "dpkg"),
    ("sipp", "sip-tester"),
    ("baresip", "baresip"),
    ("ffmpeg", "ffmpeg"),
    ("ffprobe", "ffmpeg"),
    ("tshark", "tshark"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("setpriv", "util-linux"),
    ("chromium", "chromium"),
    ("node", "nodejs"),
];

/// A program that runs, its output in a file.
pub struct Program {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Program {
    /// Starts it; what it writes goes to `output`.
    pub fn start(mut command: Command, output: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(output).expect("a file for the output of a program");
        let copy = file.try_clone().expect("the same file for its errors");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
        let child = child.unwrap_or_else(|e| panic!("{}", cannot_start(&name, &e)));
        Self { name, child, output: output.to_owned() }
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            if Instant::now() >= end {
                self.kill();
                panic!("{} did not end within {patience:?}; it wrote:\n{}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a program wrote that ran to its end.
pub struct Done {
    /// How it ended; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Standard output, which must be text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("text on standard output")
    }

    /// The same, of a program that must not fail.
    pub fn expect_ok(self, what: &str) -> Self {
        assert!(self.code == Some(0), "{what} ended with {:?}: {}{}", self.code, self.err, {
            String::from_utf8_lossy(&self.out)
        });
        self
    }
}

/// Runs a program to its end.
pub fn run(mut command: Command, patience: Duration) -> Done {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{}", cannot_start(&name, &e)));
    let out = reader(child.stdout.take().unwrap());
    let err = reader(child.stderr.take().unwrap());
    let end = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the state of a child") {
            break status;
        }
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name} did not end within {patience:?}: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let err = String::from_utf8_lossy(&err.join().unwrap()).into_owned();
    Done { code: status.code(), out: out.join().unwrap(), err }
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

fn cannot_start(name: &str, error: &std::io::Error) -> String {
    match PACKAGES.iter().find(|(program, _)| *program == name) {
        Some((_, package)) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("{name} is missing, and this test needs it: apt-get install {package}")
        }
        _ => format!("cannot start {name}: {error}"),
    }
}
