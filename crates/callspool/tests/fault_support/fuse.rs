//! A file system of a process: `bindfs`, which shows one directory at another place (FUSE). Its process can be
//! stopped, so that nobody who asks it gets an answer, and ended, so that everybody gets an error.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::program::{Program, run};
use crate::support::{PATIENCE, wait_until};

/// Mounted as long as it lives.
pub struct Fuse {
    source: TempDir,
    path: TempDir,
    daemon: Option<Program>,
}

impl Fuse {
    /// Mounts one; none where there is no FUSE, which is so in most containers.
    pub fn mount() -> Option<Self> {
        if let Err(e) = std::fs::File::options().read(true).write(true).open("/dev/fuse") {
            println!("NOT TRIED: there is no FUSE here: /dev/fuse: {e}");
            return None;
        }
        let directory = |prefix| tempfile::Builder::new().prefix(prefix).tempdir().expect("a directory");
        let mut fuse =
            Self { source: directory("callspool-fuse-"), path: directory("callspool-disk-"), daemon: None };
        fuse.plug();
        Some(fuse)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// Whoever asks it anything gets no answer from now on.
    pub fn stall(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// It answers again, also what it was asked meanwhile.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its process ends; whoever asks gets an error (ENOTCONN).
    pub fn pull(&mut self) {
        self.daemon.take().expect("it runs").kill();
    }

    /// Mounts it, again after [`pull`](Self::pull), with all that was written to it.
    pub fn plug(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        self.unmount();
        let mut command = Command::new("bindfs");
        command.arg("-f").args([self.source.path(), self.path()]);
        let mut daemon = Program::start(command, &self.source.path().with_added_extension("log"));
        wait_until("a FUSE file system to be mounted", PATIENCE, || {
            assert!(daemon.ended().is_none(), "bindfs, which needs root: {}", daemon.output());
            match self.is_mounted() {
                true => Ok(()),
                false => Err("it is not in /proc/mounts".to_owned()),
            }
        });
        self.daemon = Some(daemon);
    }

    fn is_mounted(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc/mounts");
        mounts.lines().any(|line| line.split(' ').nth(1) == self.path().to_str())
    }

    fn signal(&self, signal: Signal) {
        let id = self.daemon.as_ref().expect("it runs").id();
        kill(Pid::from_raw(id.try_into().unwrap()), signal).expect("a signal to a child");
    }

    /// Lazily: what is open does not hold it up.
    fn unmount(&self) {
        if self.is_mounted() {
            let mut command = Command::new("umount");
            command.arg("-l").arg(self.path());
            run(command, PATIENCE).expect_ok("umount");
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            let id = Pid::from_raw(daemon.id().try_into().unwrap_or(0));
            let _ = kill(id, Signal::SIGCONT);
        }
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        let _ = std::fs::remove_file(self.source.path().with_added_extension("log"));
    }
}
