//! How nodes hear each other: a raw socket for VRRP on one interface, for one family. Opening it needs `CAP_NET_RAW`,
//! reading and writing nothing.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{c_int, in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recv, recvmsg, sendmsg,
    setsockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::advert::PROTOCOL;

/// All VRRP routers of a link (RFC 9568, sections 5.1.1.2 and 5.1.2.2).
pub(crate) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub(crate) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0x12);
/// What comes with less has passed a router, and is of nobody here (section 5.1.1.3).
pub(crate) const HOPS: u8 = 255;
/// An advertisement of 255 addresses of IPv6, and what is before it.
pub(crate) const PACKET_MAX: usize = 4_200;

/// The socket.
#[derive(Debug)]
pub(crate) struct Ears {
    pub(crate) socket: Socket,
    is_v4: bool,
    index: u32,
}

/// A packet, and its place in the buffer that it was read to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) hops: u8,
    pub(crate) octets: std::ops::Range<usize>,
}

impl Ears {
    /// For one family, on an interface by its name and number.
    pub(crate) fn open(is_v4: bool, interface: &str, index: u32) -> io::Result<Self> {
        let domain = if is_v4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_nonblocking(true)?;
        let hops = u32::from(HOPS);
        if is_v4 {
            socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_ttl_v4(hops)?;
            socket.set_ttl_v4(hops)?;
        } else {
            socket.join_multicast_v6(&GROUP_V6, index)?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(hops)?;
            socket.set_unicast_hops_v6(hops)?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self { socket, is_v4, index })
    }

    /// The next packet; none when there is none, or one that says not enough of itself.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
        let received = if self.is_v4 { self.receive_v4(buffer) } else { self.receive_v6(buffer) };
        received.map_err(Into::into)
    }

    /// With its header before it.
    fn receive_v4(&self, buffer: &mut [u8]) -> nix::Result<Option<Packet>> {
        let got = recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(packet_v4(buffer.get(..got).unwrap_or_default()))
    }

    fn receive_v6(&self, buffer: &mut [u8]) -> nix::Result<Option<Packet>> {
        let mut room = nix::cmsg_space!(c_int, in6_pktinfo);
        let mut pieces = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut pieces, Some(&mut room), flags)?;
        let (mut to, mut hops) = (None, None);
        for said in message.cmsgs()? {
            match said {
                ControlMessageOwned::Ipv6HopLimit(limit) => hops = u8::try_from(limit).ok(),
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr))
                }
                _ => {}
            }
        }
        let (Some(from), Some(to), Some(hops)) = (message.address, to, hops) else { return Ok(None) };
        Ok(Some(Packet { from: from.ip().into(), to: to.into(), hops, octets: 0..message.bytes }))
    }

    /// Sends from one of our addresses, whatever the kernel would choose.
    pub(crate) fn say(&self, from: IpAddr, to: IpAddr, octets: &[u8]) -> io::Result<()> {
        let (fd, pieces, flags) = (self.socket.as_raw_fd(), [IoSlice::new(octets)], MsgFlags::MSG_DONTWAIT);
        let sent = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let address = |ip: Ipv4Addr| in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let index = c_int::try_from(self.index).map_err(|_| Errno::ENODEV)?;
                let info = in_pktinfo {
                    ipi_ifindex: index,
                    ipi_spec_dst: address(from),
                    ipi_addr: address(Ipv4Addr::UNSPECIFIED),
                };
                let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                sendmsg(fd, &pieces, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let info =
                    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: from.octets() }, ipi6_ifindex: self.index };
                let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, self.index));
                sendmsg(fd, &pieces, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))
            }
            _ => Err(Errno::EAFNOSUPPORT),
        };
        sent.map(|_| ()).map_err(Into::into)
    }
}

/// A packet of IPv4 with its header (RFC 791, section 3.1).
fn packet_v4(octets: &[u8]) -> Option<Packet> {
    let header = octets.first_chunk::<20>()?;
    let length = usize::from(header[0] & 0xF) * 4;
    let address = |at: usize| -> Option<IpAddr> {
        header.get(at..at + 4).and_then(|ip| <[u8; 4]>::try_from(ip).ok()).map(IpAddr::from)
    };
    // The kernel has seen that it is one, and that it is whole; what is beyond is padding of the link.
    let whole = usize::from(u16::from_be_bytes([header[2], header[3]])).min(octets.len());
    if length < header.len() || length > whole {
        return None;
    }
    Some(Packet { from: address(12)?, to: address(16)?, hops: header[8], octets: length..whole })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn a_packet_of_ipv4_is_taken_out_of_its_header() {
        let mut octets = vec![0x46, 0xC0, 0, 28, 0, 0, 0, 0, 255, 112, 0, 0, 192, 0, 2, 1, 224, 0, 0, 18];
        octets.extend([0x94, 4, 0, 0]);
        octets.extend([1, 2, 3, 4]);
        // The padding of a short frame.
        octets.extend([0; 10]);
        let packet = packet_v4(&octets).unwrap();
        assert_eq!((packet.from, packet.to), ([192, 0, 2, 1].into(), [224, 0, 0, 18].into()));
        assert_eq!((packet.hops, &octets[packet.octets]), (255, &[1, 2, 3, 4][..]));
    }

    proptest! {
        #[test]
        fn any_packet_is_survived(octets: Vec<u8>) {
            if let Some(packet) = packet_v4(&octets) {
                prop_assert!(octets.get(packet.octets).is_some());
            }
        }
    }
}
