//! Reads datagrams in batches with the time at which the kernel received them.
//!
//! One call of `recvmmsg` takes up to [`BATCH`] datagrams of a socket.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use model::WallTime;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg,
};
use nix::sys::time::TimeSpec;

use super::{Datagram, Left};

/// Datagrams that one call takes of a socket that has many: what a stream of 20 ms packets brings in 320 ms.
const BATCH: usize = 16;
/// Datagrams that the first call takes: on a 5 ms tick nearly always one is there, and a second place, left empty,
/// says that there is no more. Preparing sixteen costs as much as the packet.
const FIRST: usize = 2;
/// Errors of a socket that are read over, such as ICMP's answers to our reports. Each read clears one.
const ERRORS_MAX: usize = 4;
/// Octets of a datagram: an Ethernet frame holds 1,500. A longer one arrives cut, and counts as invalid.
const DATAGRAM_MAX: usize = 2_048;

/// Buffers for one thread.
pub(super) struct Batch {
    buffers: Box<[[u8; DATAGRAM_MAX]; BATCH]>,
    // The kernel writes the length of the last address into the headers, so each family has its own.
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            buffers: Box::new([[0; DATAGRAM_MAX]; BATCH]),
            v4: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            v6: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
        }
    }

    /// Takes what is there, in at most so many batches after the first few; says how many datagrams that were.
    /// `now` stands in where the kernel gave no time.
    pub(super) fn read(
        &mut self,
        socket: &UdpSocket,
        ipv6: bool,
        now: WallTime,
        batches: usize,
        each: &mut impl FnMut(Datagram<'_>),
    ) -> (u64, Left) {
        let buffers = &mut self.buffers;
        if ipv6 {
            read(socket, &mut self.v6, buffers, now, batches, |a| SocketAddr::V6((*a).into()), each)
        } else {
            read(socket, &mut self.v4, buffers, now, batches, |a| SocketAddr::V4((*a).into()), each)
        }
    }
}

fn read<S: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; BATCH],
    now: WallTime,
    batches: usize,
    address: impl Fn(&S) -> SocketAddr + Copy,
    each: &mut impl FnMut(Datagram<'_>),
) -> (u64, Left) {
    let mut total = 0;
    if let Some(few) = buffers.first_chunk_mut::<FIRST>() {
        total += take(socket, headers, few, now, address, each);
        if total < FIRST {
            return (total as u64, Left::Nothing);
        }
    }
    for _ in 0..batches {
        let count = take(socket, headers, buffers, now, address, each);
        total += count;
        if count < BATCH {
            return (total as u64, Left::Nothing);
        }
    }
    (total as u64, Left::Something)
}

/// At most N datagrams; fewer mean that there are no more.
fn take<S: SockaddrLike + Copy, const N: usize>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; N],
    now: WallTime,
    address: impl Fn(&S) -> SocketAddr + Copy,
    each: &mut impl FnMut(Datagram<'_>),
) -> usize {
    for _ in 0..ERRORS_MAX {
        match call(socket, headers, buffers, now, address, each) {
            Ok(count) => return count,
            Err(Errno::EAGAIN) => return 0,
            Err(_) => {}
        }
    }
    0
}

fn call<S: SockaddrLike + Copy, const N: usize>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; N],
    now: WallTime,
    address: impl Fn(&S) -> SocketAddr,
    each: &mut impl FnMut(Datagram<'_>),
) -> nix::Result<usize> {
    let mut slices = buffers.each_mut().map(|b| [IoSliceMut::new(b)]);
    let received = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    let mut count = 0;
    for message in received {
        count += 1;
        let Some(from) = message.address.as_ref() else { continue };
        // What was cut is not what was sent, and an empty datagram has no slice: both are handed on as nothing.
        let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
        let bytes = message.iovs().next().filter(|_| is_whole).unwrap_or_default();
        let at = kernel_time(&message).unwrap_or(now);
        each(Datagram { at, from: address(from), bytes });
    }
    Ok(count)
}

fn kernel_time<S>(message: &nix::sys::socket::RecvMsg<'_, '_, S>) -> Option<WallTime> {
    message.cmsgs().ok()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(t) => {
            let at = WallTime(t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec()));
            Some(crate::clock::stepped(at))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_with_their_sender_and_a_kernel_time_whatever_came_before() {
        let (v4, v6) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        let mut batch = Batch::new();
        for round in 0..3_u8 {
            for socket in [&v4, &v6] {
                let ipv6 = socket.local_addr().unwrap().is_ipv6();
                nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::ReceiveTimestampns, &true)
                    .unwrap();
                let sender = UdpSocket::bind(if ipv6 { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
                for n in 0..20_u8 {
                    sender.send_to(&[round, n], socket.local_addr().unwrap()).unwrap();
                }
                let (mut got, own) = (Vec::new(), sender.local_addr().unwrap());
                let mut each = |d: Datagram<'_>| {
                    assert_eq!(d.from, own);
                    assert!(d.at.0 > 0);
                    got.push(d.bytes.to_vec());
                };
                let full = batch.read(socket, ipv6, WallTime(0), 1, &mut each);
                assert_eq!(full, (18, Left::Something));
                let rest = batch.read(socket, ipv6, WallTime(0), 1, &mut each);
                assert_eq!(rest, (2, Left::Nothing));
                assert_eq!(batch.read(socket, ipv6, WallTime(0), 1, &mut each), (0, Left::Nothing));
                assert_eq!(got, (0..20).map(|n| vec![round, n]).collect::<Vec<_>>());
            }
        }
    }
}
