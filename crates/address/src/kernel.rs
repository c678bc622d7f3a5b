//! What the kernel is told of addresses, by rtnetlink(7): to have one for a while, to have it no more, and whether it has
//! it already by somebody else's word. Needs `CAP_NET_ADMIN`, of the thread that tells and not only of the one that
//! opened the socket.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily as Family, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use crate::machine::LIFETIME;

/// By which we know what is ours (`IFA_PROTO`, since Linux 5.18): above those of the kernel, and none that iproute2 has
/// a name for.
const OURS: AddressProtocol = AddressProtocol::Other(0xCA);
/// How long the kernel may take for an answer: it has a lock that others hold while they change much.
const ANSWER_S: i64 = 2;
/// What the kernel puts into one message of a list at most (netlink(7)).
const MESSAGE_MAX: usize = 32 << 10;
/// Messages until the end of a list: some ten thousands of addresses.
const MESSAGES_MAX: usize = 1_000;

/// What the kernel has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Not this address.
    Nothing,
    /// An earlier run of ours gave it.
    Ours,
    /// Somebody else gave it, for good.
    Foreign,
}

/// The way to it.
#[derive(Debug)]
pub(crate) struct Kernel {
    socket: OwnedFd,
    sequence: u32,
}

impl Kernel {
    pub(crate) fn open() -> io::Result<Self> {
        let socket =
            socket(Family::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_S, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Has the address on an interface for [`LIFETIME`] from now.
    pub(crate) fn hold(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        let mut message = about(index, address);
        // It brings no route along; nobody begins a connection by it who does not name it; and no other node is asked
        // whether it has it, which would take a second and find the one that is dead.
        let mut flags = AddressFlags::Noprefixroute;
        if address.addr().is_ipv6() {
            flags |= AddressFlags::Nodad;
        }
        let mut times = CacheInfo::default();
        times.ifa_valid = seconds(LIFETIME);
        times.ifa_preferred = 0;
        message.attributes.extend([
            AddressAttribute::Flags(flags),
            AddressAttribute::CacheInfo(times),
            AddressAttribute::Protocol(OURS),
        ]);
        self.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)?;
        Ok(())
    }

    /// Has it no more. That it had not is as well.
    pub(crate) fn let_go(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        let gone = self.ask(RouteNetlinkMessage::DelAddress(about(index, address)), NLM_F_ACK);
        let is_fine = |e: &io::Error| {
            // Of an interface that is gone all is.
            [nix::libc::EADDRNOTAVAIL, nix::libc::ENODEV].contains(&e.raw_os_error().unwrap_or(0))
        };
        match gone {
            Err(e) if !is_fine(&e) => Err(e),
            _ => Ok(()),
        }
    }

    /// Whether it has the address already, on whichever interface.
    pub(crate) fn find(&mut self, address: IpAddr) -> io::Result<Found> {
        let mut all = AddressMessage::default();
        all.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let listed = self.ask(RouteNetlinkMessage::GetAddress(all), NLM_F_DUMP)?;
        let mut found = Found::Nothing;
        for message in listed.iter().filter(|message| is_about(message, address)) {
            if !is_ours(message) {
                return Ok(Found::Foreign);
            }
            found = Found::Ours;
        }
        Ok(found)
    }

    /// Asks, and gives the addresses of the answer; none where it only says that it is done.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<AddressMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        send(self.socket.as_raw_fd(), &octets, MsgFlags::empty())?;
        let mut listed = Vec::new();
        let mut buffer = vec![0; MESSAGE_MAX];
        for _ in 0..MESSAGES_MAX {
            let got = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..got).unwrap_or_default();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|e| io::Error::other(format!("the kernel's answer is not understood: {e}")))?;
                // Each begins at a multiple of four octets.
                let length = usize::try_from(answer.header.length).unwrap_or(0).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
                // What an earlier question was answered too late.
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(listed),
                    NetlinkPayload::Error(e) => return e.code.map_or(Ok(listed), |_| Err(e.to_io())),
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(found)) => {
                        listed.push(found)
                    }
                    _ => {}
                }
            }
        }
        Err(io::Error::other("the kernel's list of addresses has no end"))
    }
}

fn about(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

fn is_about(message: &AddressMessage, address: IpAddr) -> bool {
    let of = |ip: IpAddr| move |a: &AddressAttribute| *a == AddressAttribute::Local(ip);
    let has_local = message.attributes.iter().any(|a| matches!(a, AddressAttribute::Local(_)));
    message.attributes.iter().any(of(address))
        || !has_local && message.attributes.contains(&AddressAttribute::Address(address))
}

/// By the mark that we give, or, where the kernel knows no marks, by its being given for as short a time as nobody else does.
fn is_ours(message: &AddressMessage) -> bool {
    let is_brief = |times: &CacheInfo| times.ifa_preferred == 0 && times.ifa_valid <= seconds(LIFETIME);
    message.attributes.iter().any(|a| match a {
        AddressAttribute::Protocol(protocol) => *protocol == OURS,
        AddressAttribute::CacheInfo(times) => is_brief(times),
        _ => false,
    })
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
