//! A callspool on a host of a network of the test's own. Its control socket and its files are reached as ever; its page only
//! from that host.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lan::Lan;
use super::program::Program;
use super::server::Server;
use super::{PATIENCE, wait_until};

/// See the module.
pub struct Remote {
    /// Its surroundings.
    pub server: Server,
    host: &'static str,
    space: String,
    program: Option<Program>,
}

impl Remote {
    /// It does not run yet.
    pub fn new(lan: &Lan, host: &'static str, server: Server) -> Self {
        Self { server, host, space: lan.host(host), program: None }
    }

    /// Starts it, again where it ran before, and waits until it is ready.
    pub fn restart(&mut self) {
        let mut command = self.server.command_by("ip", &["netns", "exec", &self.space]);
        command.arg("serve");
        let mut program = Program::start(command, &self.server.directory().join("serve.log"));
        wait_until("callspool to be ready", PATIENCE, || match program.ended() {
            Some(status) => panic!("{status}: {}", program.output()),
            None if program.output().contains(" is ready") => Ok(()),
            None => Err(program.output()),
        });
        self.program = Some(program);
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("it runs")
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.program().id()).unwrap());
        kill(id, signal).unwrap();
    }

    /// What `callspool status` says.
    pub fn status(&self) -> String {
        self.server.callspool(&["status"]).expect_ok("status").text().to_owned()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(program) = &self.program
        {
            eprintln!("── {} ──\n{}", self.host, program.output());
        }
    }
}
