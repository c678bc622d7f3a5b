//! A cluster on a network of the test's own: two proxies, three record servers and a communications manager, each on a host
//! with a cable.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::caller::{CallReport, Caller, Report};
use super::cluster::certify;
use super::listing::{Segment, directories, segments};
use crate::support::lan::Lan;
use crate::support::remote::Remote;
use crate::support::server::Server;
use crate::support::{PATIENCE, wait_until};

const HOSTS: [&str; 6] = ["p", "q", "a", "b", "c", "m"];
const RECORDERS: [&str; 3] = ["a", "b", "c"];
/// One network at a time: six nodes are as many as a small machine has room for.
static ALONE: Mutex<()> = Mutex::new(());

/// See the module.
pub struct Network {
    /// Its cables.
    pub lan: Lan,
    /// On hosts `p` and `q`.
    pub proxies: Vec<Remote>,
    /// On hosts `a`, `b` and `c`.
    pub recorders: Vec<Remote>,
    /// The last that goes: until then its nodes are there.
    _alone: MutexGuard<'static, ()>,
}

fn address(host: &str) -> String {
    format!("192.0.2.{}", HOSTS.iter().position(|h| *h == host).unwrap() + 1)
}

impl Network {
    /// None where nobody may make one.
    pub fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let lan = Lan::of(&HOSTS)?;
        let keys = Server::prepare(&[]);
        let authority = keys.directory().join("nodes");
        certify(&keys, &["authority", authority.to_str().unwrap()]);
        let node = |host: &'static str, number: usize, roles: &str| -> Remote {
            certify(&keys, &["node", authority.to_str().unwrap(), host]);
            let own = address(host);
            let mut server = Server::prepare(&[("NODE__ROLES", roles), ("MEDIA__LISTEN_V6", "")]);
            server.set("NODE__NUMBER", &number.to_string());
            server.set("SIP__UDP", &format!("{own}:5060"));
            server.set("SIP__TCP", &format!("{own}:5060"));
            server.set("MEDIA__LISTEN_V4", &own);
            // All ports of the host are its own.
            server.set("MEDIA__PORT_MIN", "20000");
            server.set("MEDIA__PORT_MAX", "29999");
            for (key, file) in [("CA", "ca.pem"), ("CERTIFICATE", "own.pem"), ("KEY", "own.key")] {
                // What is on the disk of the test is there as long as its servers.
                let from = authority.join(file.replace("own", host));
                let to = server.directory().join(file);
                std::fs::copy(from, &to).unwrap();
                server.set(&format!("CLUSTER__{key}"), to.to_str().unwrap());
            }
            settings.iter().for_each(|(key, value)| server.set(key, value));
            Remote::new(&lan, host, server)
        };
        let recorders: Vec<Remote> =
            (1..).zip(RECORDERS).map(|(n, host)| node(host, n, "recorder,api")).collect();
        let proxies: Vec<Remote> =
            (100..).zip(["p", "q"]).map(|(n, host)| node(host, n, "proxy,api")).collect();
        let mut network = Self { lan, proxies, recorders, _alone: alone };
        for (host, recorder) in RECORDERS.iter().zip(&mut network.recorders) {
            recorder.server.set("CLUSTER__LISTEN", &format!("{}:5070", address(host)));
            // What is live there is taken over when it is over, and what takes over has to last for two seconds.
            recorder.server.set("NODE__SHUTDOWN_GRACE", "2s");
            recorder.restart();
        }
        for proxy in &mut network.proxies {
            for host in RECORDERS {
                let key = format!("PEER__{}__ADDRESS", host.to_uppercase());
                proxy.server.set(&key, &format!("{}:5070", address(host)));
            }
            proxy.server.set("NODE__SHUTDOWN_GRACE", "20s");
            proxy.restart();
        }
        network.wait_until_ready();
        Some(network)
    }

    /// Waits until each proxy has all record servers.
    pub fn wait_until_ready(&self) {
        for proxy in &self.proxies {
            wait_until("every record server to take calls", PATIENCE, || {
                let status = proxy.status();
                if status.contains("3 of 3 record servers take calls") { Ok(()) } else { Err(status) }
            });
        }
    }

    /// The manager places so many calls with media, by the first proxy.
    pub fn call(&self, name: &str, calls: usize, duration: &str) -> Caller {
        let space = self.lan.host("m");
        let server = &self.proxies[0].server;
        let mut command = server.command_by("ip", &["netns", "exec", &space]);
        command.args(["call", "--json", "--siprec", "--to", &format!("sip:rec@{}:5060", address("p"))]);
        command.args(["--calls", &calls.to_string(), "--rate", "10/s", "--duration", duration]);
        Caller::by(command, &server.directory().join(format!("caller-{name}")))
    }

    /// Waits until so many of them are up.
    pub fn wait_until_up(&self, name: &str, calls: usize) {
        let proxy = &self.proxies[0];
        wait_until("calls to be up", PATIENCE, || {
            let status = proxy.status();
            let said = || std::fs::read_to_string(proxy.server.directory().join(format!("caller-{name}")));
            if status.contains(&format!("{calls} calls")) {
                Ok(())
            } else {
                Err(format!("{status}{:?}", said()))
            }
        });
    }

    fn repository(&self, recorder: usize) -> PathBuf {
        self.recorders[recorder].server.state().join("repository")
    }

    /// Every segment, with its record server.
    pub fn all(&self) -> Vec<(usize, Segment)> {
        let of = |n: usize| {
            let found = directories(&self.repository(n));
            found.iter().flat_map(|d| segments(d)).map(move |s| (n, s)).collect::<Vec<_>>()
        };
        (0..self.recorders.len()).flat_map(of).collect()
    }

    /// Of each call its segments, when all of them are sealed.
    pub fn calls(&self, report: &Report) -> Vec<Vec<(usize, Segment)>> {
        let all = wait_until("everything to be sealed", PATIENCE, || {
            let all = self.all();
            let live = all.iter().filter(|(_, s)| !s.sealed).count();
            if live == 0 { Ok(all) } else { Err(format!("{live} of {} are live", all.len())) }
        });
        let of = |call: &CallReport| {
            let mut own: Vec<_> = all.iter().filter(|(_, s)| s.is_of(&call.sip_call_id)).cloned().collect();
            own.sort_by_key(|(_, s)| s.record.number);
            own
        };
        report.calls.iter().map(of).collect()
    }
}
