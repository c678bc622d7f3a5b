//! A proxy and record servers, each a process of its own with its own directory and ports, on loopback.

use std::path::PathBuf;

use super::listing::{Segment, directories, segments};
use crate::support::http;
use crate::support::server::Server;
use crate::support::{PATIENCE, wait_until};

/// Whom a record server knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peers {
    None,
    All,
}

/// See the module.
pub struct Cluster {
    /// Takes calls, and records nothing itself.
    pub proxy: Server,
    /// Record calls, and take none.
    pub recorders: Vec<Server>,
    /// Where each of them is reached, with the setting that says so.
    addresses: Vec<(String, String)>,
}

impl Cluster {
    /// Starts so many record servers and a proxy, which has heard of all of them.
    pub fn start(count: usize) -> Self {
        Self::with(count, &[])
    }

    /// The same, with these further settings for each of them.
    pub fn with(count: usize, settings: &[(&str, &str)]) -> Self {
        Self::build(count, settings, Peers::None)
    }

    /// The same, whose record servers know each other and gather.
    pub fn gathering(count: usize, settings: &[(&str, &str)]) -> Self {
        Self::build(count, settings, Peers::All)
    }

    fn build(count: usize, settings: &[(&str, &str)], peers: Peers) -> Self {
        let mut proxy = Server::prepare(&[("NODE__ROLES", "proxy,api"), ("NODE__NUMBER", "100")]);
        let authority = proxy.directory().join("nodes");
        certify(&proxy, &["authority", authority.to_str().unwrap()]);
        let introduce = |server: &mut Server, name: &str| {
            certify(server, &["node", authority.to_str().unwrap(), name]);
            let file = |file: &str| authority.join(file).display().to_string();
            server.set("CLUSTER__CA", &file("ca.pem"));
            server.set("CLUSTER__CERTIFICATE", &file(&format!("{name}.pem")));
            server.set("CLUSTER__KEY", &file(&format!("{name}.key")));
            settings.iter().for_each(|(key, value)| server.set(key, value));
        };
        introduce(&mut proxy, "front");
        let (mut recorders, mut addresses) = (Vec::new(), Vec::new());
        for n in 1..=count {
            let name = format!("rec{n}");
            let roles = [("NODE__ROLES", "recorder,api"), ("NODE__NUMBER", &*n.to_string())];
            let mut recorder = Server::prepare(&roles);
            introduce(&mut recorder, &name);
            let address = format!("127.0.0.1:{}", recorder.ports().next());
            recorder.set("CLUSTER__LISTEN", &address);
            addresses.push((format!("PEER__{}__ADDRESS", name.to_uppercase()), address));
            recorders.push(recorder);
        }
        for (n, recorder) in recorders.iter_mut().enumerate() {
            let others = addresses.iter().enumerate().filter(|(other, _)| *other != n && peers == Peers::All);
            others.for_each(|(_, (key, address))| recorder.set(key, address));
            recorder.restart();
        }
        addresses.iter().for_each(|(key, address)| proxy.set(key, address));
        proxy.restart();
        let cluster = Self { proxy, recorders, addresses };
        cluster.wait_until_ready();
        cluster
    }

    /// Waits until the proxy may be sent calls, and each record server has said how it is.
    pub fn wait_until_ready(&self) {
        let all = format!("{0} of {0} record servers take calls", self.recorders.len());
        wait_until("every record server to take calls", PATIENCE, || {
            let status = self.proxy.callspool(&["status"]).text().to_owned();
            if status.contains(&all) { Ok(()) } else { Err(status) }
        });
        let ready = http::get(&self.proxy.http_address(), "/readyz", &[]).expect("an answer");
        assert_eq!(ready.status, 200);
    }

    /// Another proxy before the same record servers, of this number.
    pub fn another_proxy(&self, number: u16, settings: &[(&str, &str)]) -> Server {
        let mut proxy =
            Server::prepare(&[("NODE__ROLES", "proxy,api"), ("NODE__NUMBER", &number.to_string())]);
        let (authority, name) = (self.proxy.directory().join("nodes"), format!("front{number}"));
        certify(&proxy, &["node", authority.to_str().unwrap(), &name]);
        let file = |file: &str| authority.join(file).display().to_string();
        proxy.set("CLUSTER__CA", &file("ca.pem"));
        proxy.set("CLUSTER__CERTIFICATE", &file(&format!("{name}.pem")));
        proxy.set("CLUSTER__KEY", &file(&format!("{name}.key")));
        settings.iter().for_each(|(key, value)| proxy.set(key, value));
        self.addresses.iter().for_each(|(key, address)| proxy.set(key, address));
        proxy.restart();
        let all = format!("{0} of {0} record servers take calls", self.recorders.len());
        wait_until("every record server to take calls of it", PATIENCE, || {
            let status = proxy.callspool(&["status"]).text().to_owned();
            if status.contains(&all) { Ok(()) } else { Err(status) }
        });
        proxy
    }

    /// Where a record server keeps what it records.
    pub fn repository(&self, recorder: usize) -> PathBuf {
        self.recorders[recorder].state().join("repository")
    }

    /// Every segment that lies at a record server.
    pub fn at(&self, recorder: usize) -> Vec<Segment> {
        directories(&self.repository(recorder)).iter().flat_map(|d| segments(d)).collect()
    }

    /// The segments of a dialog, wherever they lie, in the order of their numbers, each with its record server.
    pub fn of(&self, sip_call_id: &str) -> Vec<(usize, Segment)> {
        let each = (0..self.recorders.len()).flat_map(|n| self.at(n).into_iter().map(move |s| (n, s)));
        let mut all: Vec<_> = each.filter(|(_, s)| s.is_of(sip_call_id)).collect();
        all.sort_by_key(|(_, s)| s.record.number);
        all
    }

    /// The same, when so many of them are sealed.
    pub fn sealed(&self, sip_call_id: &str, count: usize) -> Vec<(usize, Segment)> {
        wait_until("segments to be sealed", PATIENCE, || {
            let all = self.of(sip_call_id);
            let sealed = all.iter().filter(|(_, s)| s.sealed).count();
            if sealed == count && all.len() == count { Ok(all) } else { Err(format!("{all:#?}")) }
        })
    }
}

/// `callspool cert`.
pub fn certify(server: &Server, arguments: &[&str]) {
    let done = server.callspool(&[&["cert"], arguments].concat());
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}
