//! Sockets for a stream: RTP on an even port, RTCP on the next (RFC 3550 section 11).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Ports that are tried before a pair is found: half of them are odd, and some neighbors are taken.
const ATTEMPTS: usize = 64;

/// The two sockets of a stream. They never block.
#[derive(Debug)]
pub(super) struct StreamSockets {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    /// The address of `rtp`.
    pub(super) local: SocketAddr,
}

impl StreamSockets {
    /// Binds a pair.
    pub(super) fn bind(local: IpAddr) -> io::Result<Self> {
        let mut rejected = Vec::new();
        for _ in 0..ATTEMPTS {
            let rtp = UdpSocket::bind((local, 0))?;
            let address = rtp.local_addr()?;
            if address.port() % 2 == 0
                && let Ok(rtcp) = UdpSocket::bind((local, address.port() + 1))
            {
                rtp.set_nonblocking(true)?;
                rtcp.set_nonblocking(true)?;
                return Ok(Self { rtp, rtcp, local: address });
            }
            // Kept until a pair is found: else the kernel might offer it again.
            rejected.push(rtp);
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no even port with a free neighbor"))
    }
}
