//! The built-in test caller as a program of its own that goes on while the server fails.

use std::time::Duration;

use serde::Deserialize;

use crate::support::PATIENCE;
use crate::support::program::Program;
use crate::support::server::Server;

/// What it says of a call.
#[derive(Clone, Debug, Deserialize)]
pub struct CallReport {
    /// Its Call-ID header.
    pub sip_call_id: String,
    /// The final status of the INVITE.
    pub status: u16,
    /// How it ended: `bye`, `remote-bye`, `refused` …
    pub ended: String,
    /// Holds that were accepted.
    pub holds: u32,
    /// Its streams.
    pub streams: Vec<StreamReport>,
    /// What did not go as asked.
    pub problems: Vec<String>,
}

/// What it says of a stream.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamReport {
    /// Its `a=label`.
    pub label: String,
    /// Packets sent.
    pub packets: u64,
    /// Octets of payload in them.
    pub octets: u64,
    /// Each stretch between holds.
    pub runs: Vec<Run>,
}

/// A stretch of sending.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    /// Which one, from 0.
    pub period: u32,
    /// Packets sent in it.
    pub packets: u64,
    /// When its first packet left.
    pub first_at: model::WallTime,
    /// When its last packet left.
    pub last_at: model::WallTime,
}

#[derive(Deserialize)]
struct Summary {
    summary: Totals,
}

/// What it says of all calls.
#[derive(Clone, Debug, Deserialize)]
pub struct Totals {
    /// Calls made.
    pub calls: u32,
    /// As asked.
    pub ok: u32,
    /// Answered 2xx.
    pub answered: u32,
    /// The latest that a packet left after its time.
    pub latest_ms: f64,
}

/// What became of its calls.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each call.
    pub calls: Vec<CallReport>,
    /// All together.
    pub totals: Totals,
}

impl Report {
    /// The calls that were answered.
    pub fn answered(&self) -> impl Iterator<Item = &CallReport> {
        self.calls.iter().filter(|c| c.status == 200)
    }

    /// Fails unless every call went as asked.
    pub fn expect_all_ok(&self, what: &str) {
        let bad: Vec<_> = self.calls.iter().filter(|c| !c.problems.is_empty()).collect();
        assert!(self.totals.ok == self.totals.calls && bad.is_empty(), "{what}: {:?}: {bad:?}", self.totals);
    }
}

/// A caller that runs.
pub struct Caller {
    program: Program,
}

impl Caller {
    /// Starts it; `arguments` are those of `callspool call`, without `--to`.
    pub fn start(server: &Server, name: &str, arguments: &[&str]) -> Self {
        let mut command = server.command();
        command.args(["call", "--json", "--to", &format!("sip:rec@{}", server.sip_address())]);
        command.args(arguments);
        Self::by(command, &server.directory().join(format!("caller-{name}")))
    }

    /// Starts it by a command line that is complete.
    pub fn by(command: std::process::Command, output: &std::path::Path) -> Self {
        Self { program: Program::start(command, output) }
    }

    /// Asks it to end its calls now.
    pub fn interrupt(&self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.program.id()).unwrap());
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT);
    }

    /// Waits until all its calls are over.
    pub fn finish(self) -> Report {
        self.finish_within(PATIENCE)
    }

    /// The same with another patience.
    pub fn finish_within(mut self, patience: Duration) -> Report {
        self.program.wait(patience);
        let output = self.program.output();
        let lines = || output.lines().filter(|l| l.starts_with('{'));
        let calls = lines().filter_map(|l| serde_json::from_str::<CallReport>(l).ok()).collect();
        let totals = lines().find_map(|l| serde_json::from_str::<Summary>(l).ok());
        let totals = totals.unwrap_or_else(|| panic!("the caller has no summary:\n{output}")).summary;
        let report = Report { calls, totals };
        assert_eq!(report.calls.len(), report.totals.calls as usize, "a line per call:\n{output}");
        report
    }
}

/// Places calls, waits for them, and fails unless all went as asked.
pub fn place(server: &Server, name: &str, arguments: &[&str]) -> Report {
    let report = Caller::start(server, name, arguments).finish();
    report.expect_all_ok(name);
    report
}
