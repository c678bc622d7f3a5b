//! What the kernel gives: receive buffers, time stamps on packets, many packets a call, addresses and ports.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Check, owner};
use crate::config::{Config, Role, Size};
use crate::control;
use crate::descriptors::of_sharing;
use crate::recorder::{Kind, possible};
use crate::serve::{ports_of, source_of};

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if config.node.roles.contains(&Role::Proxy) {
        checks.push(receive_buffer(config.sip.recv_buffer));
    }
    if config.node.roles.contains(&Role::Recorder) {
        checks.push(time_stamps());
        checks.push(media_ports(config));
        checks.extend(shared_ports(config));
        checks.push(media_source(config));
    }
    checks.extend(ports(config));
    checks
}

/// Whether what it would receive on is free, or its own already.
fn ports(config: &Config) -> Vec<Check> {
    let sip = &config.sip;
    let mut wanted: Vec<(&str, SocketAddr, Type, &str)> = Vec::new();
    if config.node.roles.contains(&Role::Proxy) {
        let mut all = |name, addresses: &[SocketAddr], kind, key| {
            wanted.extend(addresses.iter().map(|a| (name, *a, kind, key)));
        };
        all("SIP over UDP", &sip.udp, Type::DGRAM, "sip.udp");
        all("SIP over TCP", &sip.tcp, Type::STREAM, "sip.tcp");
        all("SIP over TLS", &sip.tls, Type::STREAM, "sip.tls");
        all("SIP over WebSocket", &sip.ws, Type::STREAM, "sip.ws");
        all("SIP over secure WebSocket", &sip.wss, Type::STREAM, "sip.wss");
    }
    wanted.extend(config.cluster.listen.iter().map(|a| ("other nodes", *a, Type::STREAM, "cluster.listen")));
    if config.node.roles.contains(&Role::Api) {
        wanted.push(("the page", config.api.listen, Type::STREAM, "api.listen"));
    }
    let serving = owner::serving(&control::path(&config.node.data_dir));
    wanted.into_iter().map(|(name, address, kind, key)| port(name, address, kind, key, serving)).collect()
}

/// What a SIP socket gets of what it asks for.
fn receive_buffer(wanted: Size) -> Check {
    let what = "SIP receive buffer";
    match granted(wanted.octets()) {
        Ok(got) if got >= wanted.octets() => Check::good(what, format!("{wanted}")),
        Ok(got) => Check::warning(
            what,
            format!(
                "{} of {wanted}: bursts of calls lose datagrams, which are sent again later",
                Size(got as u64)
            ),
            format!("sysctl -w net.core.rmem_max={}, or lower sip.recv_buffer", wanted.0),
        ),
        Err(e) => Check::failure(what, e.to_string(), "let this process open UDP sockets"),
    }
}

fn granted(wanted: usize) -> io::Result<usize> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(wanted)?;
    // The kernel doubles it for its own needs, and says so.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Sends a packet to ourselves and reads it as a media thread does.
fn time_stamps() -> Check {
    let what = "recvmmsg with kernel time stamps";
    match stamped_packet() {
        Ok(true) => Check::good(what, "works"),
        Ok(false) => Check::warning(
            what,
            "packets carry no time stamp",
            "use a kernel with SO_TIMESTAMPNS; without it arrival times are as coarse as media.tick",
        ),
        Err(e) => Check::failure(
            what,
            e.to_string(),
            "use a Linux kernel (3.0 or newer), and allow the call where it is filtered",
        ),
    }
}

fn stamped_packet() -> io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.send_to(b"doctor", socket.local_addr()?)?;
    let mut octets = [0; 64];
    let mut buffers = [[IoSliceMut::new(&mut octets)]];
    let space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(1, Some(space));
    let received = recvmmsg(socket.as_raw_fd(), &mut headers, buffers.iter_mut(), MsgFlags::empty(), None)?;
    let is_stamp = |c: ControlMessageOwned| matches!(c, ControlMessageOwned::ScmTimestampns(_));
    Ok(received.into_iter().any(|message| message.cmsgs().is_ok_and(|mut all| all.any(is_stamp))))
}

/// Whether the range is large enough, and can be bound.
/// What media can be received by, each tried.
fn media_source(config: &Config) -> Check {
    let (what, wanted) = ("media source", source_of(config));
    let ports = ports_of(config);
    let tried: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, possible(kind, &ports))).collect();
    let said = tried.iter().map(|(kind, tried)| match tried {
        Ok(()) => format!("{} is possible", kind.name()),
        Err(e) => format!("{} is not ({e})", kind.name()),
    });
    let found = format!("{} is used; {}", wanted.name(), said.collect::<Vec<_>>().join(", "));
    if tried.iter().any(|(kind, tried)| *kind == wanted && tried.is_err()) {
        let instead = found.replacen(&format!("{} is used", wanted.name()), "sockets are read instead", 1);
        return Check::warning(what, instead, format!("{}, or set media.source", wanted.todo()));
    }
    Check::good(what, found)
}

fn media_ports(config: &Config) -> Check {
    let (what, media) = ("media ports", &config.media);
    let streams = usize::from(media.port_max.saturating_sub(media.port_min) / 2) + 1;
    let needed = config.recording.max_calls.saturating_mul(2);
    let range = format!("{} to {}: {streams} streams", media.port_min, media.port_max);
    let ip = media.listen_v4.map(Into::into).or(media.listen_v6.map(Into::into));
    if let Some(ip) = ip
        && let Err(e) = UdpSocket::bind(SocketAddr::new(ip, 0))
    {
        return Check::failure(
            what,
            format!("{ip}: {e}"),
            "name an address of this machine in media.listen_v4 or listen_v6",
        );
    }
    if streams < needed {
        let found = format!("{range}, {needed} needed for {} calls of two", config.recording.max_calls);
        return Check::warning(what, found, "widen media.port_min to port_max, or lower recording.max_calls");
    }
    Check::good(what, range)
}

/// Where streams may share ports: whose, and what that saves. What the other checks say is needed where none do.
fn shared_ports(config: &Config) -> Option<Check> {
    let per_port = config.media.streams_per_port;
    if per_port == 1 {
        return None;
    }
    let what = "shared ports";
    let trunks = config.tables.trunk.iter().filter(|(_, trunk)| trunk.sends_as_announced);
    let names: Vec<&str> = trunks.map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        let todo = "set sends_as_announced for a trunk of which it is true, or media.streams_per_port = 1";
        return Some(Check::warning(what, "no trunk may have any", todo));
    }
    let calls = config.recording.max_calls as u64;
    let found = format!(
        "up to {per_port} streams on a pair, of {}; {} descriptors for {calls} calls that all do",
        names.join(", "),
        of_sharing(calls, per_port)
    );
    Some(Check::good(what, found))
}

/// Whether an address can be bound now; `key` is the setting that names it.
fn port(name: &str, address: SocketAddr, kind: Type, key: &str, serving: Option<i32>) -> Check {
    let what = format!("{name} {address}");
    match bind(address, kind) {
        Ok(()) => Check::good(what, "free"),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => in_use(what, address.port(), key, serving),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Check::failure(
            what,
            "no permission",
            format!(
                "choose another address in {key}, with a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
            ),
        ),
        Err(e) => Check::failure(
            what,
            e.to_string(),
            format!("choose another address in {key}, one that this machine has"),
        ),
    }
}

/// `serving` is the process that serves from the same data directory. It could not, if another had its port.
fn in_use(what: String, port: u16, key: &str, serving: Option<i32>) -> Check {
    match (owner::of_port(Path::new("/proc"), port), serving) {
        (Some((id, name)), _) if name == "callspool" => {
            Check::good(what, format!("in use by callspool (process {id})"))
        }
        (Some((id, name)), _) => {
            let found = format!("in use by {name} (process {id})");
            Check::warning(what, found, format!("stop {name}, or choose another address in {key}"))
        }
        // One with capabilities does not let others of its user look at its sockets.
        (None, Some(id)) => Check::good(what, format!("in use, and callspool serves here (process {id})")),
        (None, None) => Check::warning(
            what,
            "in use: by callspool itself if it runs as another user",
            format!("else stop what uses it, or choose another address in {key}"),
        ),
    }
}

fn bind(address: SocketAddr, kind: Type) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if kind == Type::STREAM { socket.listen(1) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::{Surroundings, load};

    #[test]
    fn a_port_is_free_or_not() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let check = |a: SocketAddr| port("x", a, Type::DGRAM, "sip.udp", None).verdict;
        assert_eq!(check(taken.local_addr().unwrap()), Verdict::Warning);
        assert_eq!(check("127.0.0.1:0".parse().unwrap()), Verdict::Good);
        assert_eq!(check("192.0.2.1:5060".parse().unwrap()), Verdict::Failure);
    }

    #[test]
    fn it_is_said_whose_streams_share_ports_and_what_that_saves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let check = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let around = Surroundings { variables: Vec::new(), ..Surroundings::of_process() };
            shared_ports(&load(Some(&path), &around).unwrap().config)
        };
        assert!(check("").is_none());
        let plain = "[media]\nstreams_per_port = 32\n[recording]\nmax_calls = 1000\n[trunk.pbx]\nfrom = \"192.0.2.1\"\n";
        assert_eq!(check(plain).unwrap().verdict, Verdict::Warning);
        let sbc = "[trunk.sbc]\nfrom = \"192.0.2.2\"\nsends_as_announced = true\n";
        let check = check(&format!("{plain}{sbc}")).unwrap();
        // Two files each, and 63 pairs for 2,000 streams.
        let found = "up to 32 streams on a pair, of sbc; 2126 descriptors for 1000 calls that all do";
        assert_eq!((check.verdict, &*check.found), (Verdict::Good, found));
    }

    #[test]
    fn this_kernel_stamps_packets() {
        assert_eq!(time_stamps().verdict, Verdict::Good);
    }

    #[test]
    fn a_buffer_that_no_kernel_grants_is_told_of() {
        assert_eq!(receive_buffer(Size(4 << 10)).verdict, Verdict::Good);
        let check = receive_buffer(Size(1 << 30));
        assert!(check.verdict == Verdict::Warning && check.todo.contains("rmem_max=1073741824"), "{check:?}");
    }
}
