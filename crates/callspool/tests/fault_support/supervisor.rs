//! A supervisor as systemd is one (sd_notify(3)): a socket that is told things, and one thread that is held up.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::support::PATIENCE;

/// The socket.
pub struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Supervisor {
    /// Listens in this directory.
    pub fn listen(directory: &std::path::Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a patience");
        Self { socket, path, heard: Vec::new() }
    }

    /// Has a program tell it, with a watchdog that wants to be fed so often.
    pub fn watch(&self, command: &mut Command, watchdog: Duration) {
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    }

    /// Waits for an assignment that begins so, and gives the whole of it.
    pub fn wait_for(&mut self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(told) = self.next().into_iter().find(|line| line.starts_with(what)) {
                return told;
            }
        }
        panic!("{what} was not told within {PATIENCE:?}; told were {:?}", self.heard);
    }

    /// What is told in this time.
    pub fn listen_for(&mut self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut told = Vec::new();
        while Instant::now() < end {
            told.extend(self.next());
        }
        told
    }

    /// The assignments of the next message, none when there is none for a moment.
    fn next(&mut self) -> Vec<String> {
        let mut octets = [0; 4_096];
        let Ok(count) = self.socket.recv(&mut octets) else { return Vec::new() };
        let text = String::from_utf8_lossy(&octets[..count]).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        self.heard.extend(lines.clone());
        lines
    }
}

/// One thread of a process, which stands still as long as this lives. The others go on.
pub struct Held(Pid);

impl Held {
    /// Holds up the thread of this name. It goes on only by the thread that called this.
    pub fn hold(process: u32, name: &str) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
        let task = tasks.flatten().find(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        });
        let id = task.unwrap_or_else(|| panic!("no thread {name}")).file_name();
        let id = Pid::from_raw(id.to_string_lossy().parse().expect("a number"));
        ptrace::attach(id).expect("to trace a thread of a child (ptrace_scope, CAP_SYS_PTRACE)");
        waitpid(id, Some(WaitPidFlag::__WALL)).expect("that it stopped");
        Self(id)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}
