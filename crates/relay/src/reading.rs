//! Takes what has come to a port, in batches, with the time at which the kernel had it.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use model::WallTime;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg,
};
use nix::sys::time::TimeSpec;

/// Datagrams that one call takes of a port that has many.
const BATCH: usize = 16;
/// Datagrams that the first call takes: nearly always there is one, and a second place, left empty, says that there is no
/// more. Preparing sixteen costs as much as the packet.
const FIRST: usize = 2;
/// Batches that a port may bring in a round: with 1 ms, over 60,000 packets a second. The rest waits for the next round,
/// so that none starves the others.
const BATCHES_MAX: usize = 4;
/// Errors of a socket that are read over, such as ICMP's answers to what was sent. Each read clears one.
const ERRORS_MAX: usize = 4;
/// Octets of a datagram that are read: an Ethernet frame holds 1,500. A longer one comes cut, and is dropped.
const DATAGRAM_MAX: usize = media::srtp::PACKET_MAX;

/// Buffers of a thread.
pub(crate) struct Batch {
    buffers: Box<[[u8; DATAGRAM_MAX]; BATCH]>,
    // The kernel writes the length of the last address into the headers, so each family has its own.
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
    /// Calls since it was asked.
    pub(crate) calls: u64,
}

/// Whether a port has been emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Nothing,
    /// There may be more.
    Something,
}

/// A datagram; `at` is of the system's clock, none where the kernel gave no time.
pub(crate) struct Datagram<'a> {
    pub(crate) at: Option<WallTime>,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: &'a [u8],
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffers: Box::new([[0; DATAGRAM_MAX]; BATCH]),
            v4: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            v6: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            calls: 0,
        }
    }

    /// Takes what is there.
    pub(crate) fn read(
        &mut self,
        socket: &UdpSocket,
        is_v6: bool,
        each: &mut impl FnMut(Datagram<'_>),
    ) -> Left {
        let Self { buffers, v4, v6, calls } = self;
        if is_v6 {
            read(socket, v6, buffers, calls, |a| SocketAddr::V6((*a).into()), each)
        } else {
            read(socket, v4, buffers, calls, |a| SocketAddr::V4((*a).into()), each)
        }
    }
}

fn read<S: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; BATCH],
    calls: &mut u64,
    address: impl Fn(&S) -> SocketAddr + Copy,
    each: &mut impl FnMut(Datagram<'_>),
) -> Left {
    if let Some(few) = buffers.first_chunk_mut::<FIRST>()
        && take(socket, headers, few, calls, address, each) < FIRST
    {
        return Left::Nothing;
    }
    for _ in 0..BATCHES_MAX {
        if take(socket, headers, buffers, calls, address, each) < BATCH {
            return Left::Nothing;
        }
    }
    Left::Something
}

/// At most N datagrams; fewer mean that there are no more.
fn take<S: SockaddrLike + Copy, const N: usize>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; N],
    calls: &mut u64,
    address: impl Fn(&S) -> SocketAddr + Copy,
    each: &mut impl FnMut(Datagram<'_>),
) -> usize {
    for _ in 0..ERRORS_MAX {
        *calls += 1;
        let mut slices = buffers.each_mut().map(|b| [IoSliceMut::new(b)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None) {
            Ok(received) => {
                let mut count = 0;
                for message in received {
                    count += 1;
                    hand_on(&message, address, each);
                }
                return count;
            }
            Err(Errno::EAGAIN) => return 0,
            Err(_) => {}
        }
    }
    0
}

fn hand_on<S: SockaddrLike + Copy>(
    message: &RecvMsg<'_, '_, S>,
    address: impl Fn(&S) -> SocketAddr,
    each: &mut impl FnMut(Datagram<'_>),
) {
    let Some(from) = message.address.as_ref() else { return };
    // What was cut is not what was sent: it is handed on as nothing.
    let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    let bytes = message.iovs().next().filter(|_| is_whole).unwrap_or_default();
    let at = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampns(t) => {
                Some(WallTime(t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec())))
            }
            _ => None,
        })
    });
    each(Datagram { at, from: address(from), bytes });
}
