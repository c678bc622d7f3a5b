//! One UDP port: bound with a large receive buffer, read by the owner, written without waiting.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::config::{NetLimits, Stay};

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// The kernel has it.
    Now,
    /// It waits for room in the kernel's buffer.
    Queued,
    /// Dropped: the queue is full too.
    Full,
    /// Dropped: the kernel refused it (no route, too long).
    Refused,
}

/// A bound port.
pub(super) struct UdpPort {
    socket: UdpSocket,
    /// The address that it is bound to; may be the unspecified one.
    pub(super) local: SocketAddr,
    /// The receive buffer that the kernel granted, in bytes of payload.
    pub(super) receive_buffer: usize,
    queue: VecDeque<(SocketAddr, Bytes)>,
    queue_max: usize,
}

impl UdpPort {
    /// Binds. Two processes on one port would steal each other's datagrams, so the address is not reused.
    pub(super) fn bind(address: SocketAddr, stay: Stay, limits: &NetLimits) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        stay.allow(&socket, address)?;
        raise_receive_buffer(&socket, limits.udp_receive_buffer);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        // Linux doubles the number that it is asked for, for its own bookkeeping (man 7 socket).
        let receive_buffer = socket.recv_buffer_size().map_or(0, |granted| granted / 2);
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, receive_buffer, queue: VecDeque::new(), queue_max: limits.udp_queue_max })
    }

    /// A datagram, when there is one.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut read = ReadBuf::new(buffer);
        self.socket.poll_recv_from(cx, &mut read).map_ok(|remote| (read.filled().len(), remote))
    }

    /// Sends now if the kernel has room, else queues up to the limit. Order is kept.
    pub(super) fn send(&mut self, remote: SocketAddr, bytes: Bytes) -> Sent {
        if self.queue.is_empty() {
            match self.socket.try_send_to(&bytes, remote) {
                Ok(_) => return Sent::Now,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Sent::Refused,
            }
        }
        if self.queue.len() >= self.queue_max {
            return Sent::Full;
        }
        self.queue.push_back((remote, bytes));
        Sent::Queued
    }

    /// Sends what is queued as far as the kernel has room; gives how many it refused.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> u64 {
        let mut refused = 0;
        while let Some((remote, bytes)) = self.queue.front() {
            if self.socket.poll_send_ready(cx).is_pending() {
                break;
            }
            match self.socket.try_send_to(bytes, *remote) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => refused += 1,
            }
            self.queue.pop_front();
        }
        refused
    }

    /// Whether anything waits.
    pub(super) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether this port can send to `remote`: same family, and from loopback only to loopback.
    pub(super) fn reaches(&self, remote: SocketAddr) -> bool {
        self.local.is_ipv4() == remote.is_ipv4()
            && (!self.local.ip().is_loopback() || remote.ip().is_loopback())
    }
}

/// Beyond `rmem_max` when the process may (`CAP_NET_ADMIN`), else as far as the kernel grants. Less is no
/// failure: `receive_buffer` tells what it came to.
fn raise_receive_buffer(socket: &Socket, bytes: usize) {
    let forced = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &bytes);
    if forced.is_err() && socket.set_recv_buffer_size(bytes).is_err() {
        tracing::debug!(bytes, "the kernel refused the receive buffer");
    }
}

/// Our address as `remote` sees it, for a port that is bound to the unspecified address: the one that the
/// kernel's route to `remote` starts from. Sends nothing.
pub(crate) fn local_towards(bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let any: SocketAddr =
        if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let probe = || -> io::Result<SocketAddr> {
        let socket = std::net::UdpSocket::bind(any)?;
        socket.connect(remote)?;
        socket.local_addr()
    };
    probe().map_or(bound, |found| SocketAddr::new(found.ip(), bound.port()))
}
