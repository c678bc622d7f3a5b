//! Nodes that hold service addresses on a network of the test's own, and a client that asks who answers there.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::lan::Lan;
use super::program::Program;
use super::remote::Remote;
use super::server::Server;
use super::{PATIENCE, wait_until};

/// The address that is held, by IPv4.
pub const V4: &str = "192.0.2.10";
/// And by IPv6.
pub const V6: &str = "2001:db8::10";

/// A node, on the host of its name.
pub struct Node<'a> {
    lan: &'a Lan,
    host: &'static str,
    /// Its process and files.
    pub remote: Remote,
}

impl<'a> Node<'a> {
    /// One that does not run yet.
    pub fn prepare(lan: &'a Lan, host: &'static str, priority: &str, take_back: &str) -> Self {
        let sip = format!("{V4}:5060,[{V6}]:5060");
        let server = Server::prepare(&[
            ("NODE__ROLES", "proxy,recorder,link-protector"),
            ("SIP__USER_AGENT", host),
            ("SIP__UDP", &sip),
            ("SIP__TCP", &sip),
            ("ADDRESS__V4__ADDRESS", &format!("{V4}/24")),
            ("ADDRESS__V4__INTERFACE", "eth0"),
            ("ADDRESS__V4__ROUTER_ID", "51"),
            ("ADDRESS__V4__PRIORITY", priority),
            ("ADDRESS__V4__TAKE_BACK", take_back),
            ("ADDRESS__V6__ADDRESS", &format!("{V6}/64")),
            ("ADDRESS__V6__INTERFACE", "eth0"),
            ("ADDRESS__V6__ROUTER_ID", "51"),
            ("ADDRESS__V6__PRIORITY", priority),
            ("ADDRESS__V6__TAKE_BACK", take_back),
        ]);
        Self { lan, host, remote: Remote::new(lan, host, server) }
    }

    /// One that is ready.
    pub fn start(lan: &'a Lan, host: &'static str, priority: &str, take_back: &str) -> Self {
        let mut node = Self::prepare(lan, host, priority, take_back);
        node.restart();
        node
    }

    /// Starts it, again where it ran before.
    pub fn restart(&mut self) {
        self.remote.restart();
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        self.remote.program()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.remote.signal(signal);
    }

    /// The address of its link.
    pub fn mac(&self) -> String {
        let shown = self.lan.ip_of(self.host, &["link", "show", "dev", "eth0"]);
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        words.nth(1).expect("an address of the link").to_owned()
    }

    /// Whether its kernel has the addresses.
    pub fn holds(&self) -> [bool; 2] {
        let shown = self.lan.ip_of(self.host, &["address", "show", "dev", "eth0"]);
        [shown.contains(&format!(" {V4}/24 ")), shown.contains(&format!(" {V6}/64 "))]
    }

    /// Waits until it has both, or neither.
    pub fn expect_holds(&self, holds: bool) {
        wait_until("who holds the addresses", PATIENCE, || {
            let held = self.holds();
            if held == [holds; 2] { Ok(()) } else { Err(format!("{}: {held:?}", self.host)) }
        });
    }

    /// What `callspool status` says.
    pub fn status(&self) -> String {
        self.remote.status()
    }
}

/// Who asks, on a host of its own.
pub struct Client<'a> {
    lan: &'a Lan,
    v4: UdpSocket,
    v6: UdpSocket,
    asked: u32,
}

impl<'a> Client<'a> {
    /// On host `c`.
    pub fn of(lan: &'a Lan) -> Self {
        Self {
            lan,
            v4: lan.socket("c", "192.0.2.3:5060"),
            v6: lan.socket("c", "[2001:db8::3]:5060"),
            asked: 0,
        }
    }

    /// How long it waits for an answer before it asks again.
    pub fn wait_for_each(&self, wait: Duration) {
        [&self.v4, &self.v6].iter().for_each(|socket| socket.set_read_timeout(Some(wait)).unwrap());
    }

    /// Who answers now, if somebody does.
    fn ask(&mut self, socket: &UdpSocket, to: &str) -> Option<String> {
        self.asked += 1;
        let (n, own) = (self.asked, socket.local_addr().unwrap());
        let request = format!(
            "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:client@{own}>;tag={n}\r\nTo: <sip:{to}>\r\nCall-ID: {n}@test\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        // Where nobody has the address the kernel says so, sooner or later.
        let _ = socket.send_to(request.as_bytes(), to);
        let mut buffer = [0; 4_096];
        let answer = loop {
            let (length, from) = socket.recv_from(&mut buffer).ok()?;
            assert_eq!(from, to.parse().unwrap(), "an answer comes from where it was asked for");
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            // Others are late: what was asked while nobody had the address waits for somebody to have it.
            if answer.contains(&format!("Call-ID: {n}@test")) {
                break answer;
            }
        };
        let server = answer.lines().find_map(|line| line.strip_prefix("Server: "));
        Some(server.unwrap_or_else(|| panic!("who is it? {answer}")).to_owned())
    }

    /// Until both addresses are answered for by this node; how long that took.
    pub fn expect(&mut self, host: &str) -> Duration {
        let began = Instant::now();
        for (socket, to) in [
            (self.v4.try_clone().unwrap(), format!("{V4}:5060")),
            (self.v6.try_clone().unwrap(), format!("[{V6}]:5060")),
        ] {
            wait_until(&format!("an answer of {host} at {to}"), PATIENCE, || {
                let answered = self.ask(&socket, &to);
                if answered.as_deref() == Some(host) { Ok(()) } else { Err(format!("{answered:?}")) }
            });
        }
        began.elapsed()
    }

    /// Where it sends what goes to the addresses.
    pub fn remembers(&self) -> Vec<String> {
        let of = |address: &&str| {
            let shown = self.lan.ip_of("c", &["neighbour", "show", "to", address, "dev", "eth0"]);
            let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
            words.nth(1).unwrap_or_default().to_owned()
        };
        [V4, V6].iter().map(of).collect()
    }
}
