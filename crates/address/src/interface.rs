//! What the kernel says of an interface: whether its link is up, and by which addresses others know this node there.
//! Only looked at, never changed; it needs no power.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage, bind,
    recv, socket,
};

use crate::announcement::Mac;

/// Of a link that comes or goes, of addresses of each family (linux/rtnetlink.h, RTMGRP).
const LINK_AND_ADDRESSES: u32 = 0x1 | 0x10 | 0x100;

/// An interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    /// Its number among others; another one when it was made anew.
    pub(crate) index: u32,
    /// It is up, and at its other end is something.
    pub(crate) is_up: bool,
    /// Its address of the link; none where it has none of Ethernet.
    pub(crate) mac: Option<Mac>,
    /// How frames are sent by it.
    pub(crate) link: Option<LinkAddr>,
    /// Its addresses, in the kernel's order.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Interface {
    /// Looks at one; none if there is none of this name.
    pub(crate) fn look(name: &str) -> nix::Result<Option<Self>> {
        let mut found: Option<Self> = None;
        for entry in getifaddrs()?.filter(|entry| entry.interface_name == name) {
            let interface = found.get_or_insert_default();
            interface.is_up = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
            let Some(address) = entry.address else { continue };
            if let Some(link) = address.as_link_addr() {
                interface.index = u32::try_from(link.ifindex()).unwrap_or(0);
                interface.mac = link.addr().filter(|_| link.halen() == 6);
                interface.link = Some(*link);
            }
            interface.addresses.extend(ip(&address));
        }
        Ok(found)
    }

    /// By which address other nodes know this one when it speaks to them: over IPv6 to all of the link that of the link
    /// (RFC 9568, section 5.1.2.1). Never one that moves.
    pub(crate) fn own(&self, to: IpAddr, moving: &[IpAddr]) -> Option<IpAddr> {
        let of_link = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let of_link_wanted = match to {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
        };
        let mut own = self.addresses.iter().filter(|ip| ip.is_ipv4() == to.is_ipv4() && !moving.contains(ip));
        own.find(|ip| of_link(ip) == of_link_wanted).copied()
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    address.as_sockaddr_in6().map(|v6| v6.ip().into())
}

/// Is readable when something of some interface has changed.
#[derive(Debug)]
pub(crate) struct Changes(pub(crate) OwnedFd);

impl Changes {
    pub(crate) fn watch() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &NetlinkAddr::new(0, LINK_AND_ADDRESSES))?;
        Ok(Self(fd))
    }

    /// Whether something has changed since the last time. What it was is looked up.
    pub(crate) fn drain(&self) -> bool {
        /// What it says is not read: a message that does not fit is cut.
        const ENOUGH: usize = 64;
        /// Then the rest is left for the next time.
        const AT_ONCE: usize = 1_000;
        let mut buffer = [0; ENOUGH];
        let mut changed = false;
        for _ in 0..AT_ONCE {
            match recv(std::os::fd::AsRawFd::as_raw_fd(&self.0), &mut buffer, MsgFlags::MSG_TRUNC) {
                Ok(_) => changed = true,
                Err(Errno::EINTR) => {}
                // Some were lost, as there were too many.
                Err(Errno::ENOBUFS) => changed = true,
                Err(_) => break,
            }
        }
        changed
    }
}
