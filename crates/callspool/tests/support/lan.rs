//! A network of the test's own: hosts in network namespaces, on one bridge, as `ip` of iproute2 makes them. Names have the
//! id of this process in them; all of it goes when the value goes.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::program::{Done, run};
use super::{PATIENCE, wait_until};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The switch, and the hosts by their names: `a` is 192.0.2.1 and 2001:db8::1, `b` ends in 2 and so on.
pub struct Lan {
    name: String,
    hosts: Vec<&'static str>,
}

impl Lan {
    /// None on a machine where nobody may make such a network, which is said.
    pub fn of(hosts: &[&'static str]) -> Option<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let lan = Self { name: format!("callspool-{}-{count}", std::process::id()), hosts: hosts.to_vec() };
        let made = run(command("ip", &["netns", "add", &lan.name]), PATIENCE);
        if made.code != Some(0) {
            println!("NOT TRIED: this machine lets nobody make a network namespace: {}", made.err.trim());
            return None;
        }
        lan.ip(&["link", "add", "br0", "type", "bridge"]);
        lan.ip(&["link", "set", "br0", "up"]);
        for (host, n) in hosts.iter().zip(1..) {
            let of_host = lan.host(host);
            run(command("ip", &["netns", "add", &of_host]), PATIENCE).expect_ok("a namespace for a host");
            let peer = ["type", "veth", "peer", "name", "eth0", "netns", &of_host];
            lan.ip(&[&["link", "add", "name", &port(host)][..], &peer].concat());
            lan.ip(&["link", "set", "dev", &port(host), "master", "br0", "up"]);
            lan.ip_of(host, &["link", "set", "lo", "up"]);
            lan.ip_of(host, &["address", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
            lan.ip_of(host, &["address", "add", &format!("2001:db8::{n}/64"), "dev", "eth0", "nodad"]);
            lan.ip_of(host, &["link", "set", "eth0", "up"]);
        }
        for host in hosts {
            // The kernel makes sure first that nobody else has the address of the link.
            wait_until("an address of the link", PATIENCE, || {
                let shown = lan.ip_of(host, &["-6", "address", "show", "dev", "eth0", "scope", "link"]);
                let is_there = shown.contains("fe80") && !shown.contains("tentative");
                if is_there { Ok(()) } else { Err(shown) }
            });
        }
        Some(lan)
    }

    /// The namespace of a host.
    pub fn host(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// Pulls the cable of a host at the switch, or puts it in again.
    pub fn cable(&self, host: &str, state: &str) {
        self.ip(&["link", "set", "dev", &port(host), state]);
    }

    /// Runs `ip` on a host.
    pub fn ip_of(&self, host: &str, arguments: &[&str]) -> String {
        ip(&self.host(host), arguments)
    }

    /// A socket of a host.
    pub fn socket(&self, host: &str, address: &str) -> UdpSocket {
        let (name, address) = (self.host(host), address.to_owned());
        let made = std::thread::spawn(move || {
            let space = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
            // Of this thread alone; a socket stays where it was made.
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), Some(LinkNameSpaceType::Network))
                .unwrap();
            UdpSocket::bind(address).unwrap()
        });
        let socket = made.join().expect("a socket in a namespace");
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&self.name, arguments);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = command("ip", &["netns", "delete", &self.host(host)]).status();
        }
        let _ = command("ip", &["netns", "delete", &self.name]).status();
    }
}

/// Where a host is plugged in.
fn port(host: &str) -> String {
    format!("port-{host}")
}

fn ip(space: &str, arguments: &[&str]) -> String {
    let done: Done = run(command("ip", &[&["-netns", space][..], arguments].concat()), PATIENCE);
    done.expect_ok("ip").text().to_owned()
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
