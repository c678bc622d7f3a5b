//! The datagrams of one socket.
//!
//! ```text
//!  a socket that has something ──► recvmmsg: 2 ──► both there? ──► recvmmsg: 16, as often as the caller allows
//!                                      │ one or none                   │ fewer than 16
//!                                      ▼                               ▼
//!                                Left::Nothing                   Left::Nothing, or Something at the limit
//! ```

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

/// Datagrams that one call takes of a socket that has many: what a stream of 20 ms packets brings in 320 ms.
pub const BATCH: usize = 16;
/// Datagrams that the first call takes: to who looks each few milliseconds nearly always one is there, and a second place,
/// left empty, says that there is no more. Preparing sixteen costs as much as the packet.
pub const FIRST: usize = 2;
/// Octets of a datagram that are read: an Ethernet frame holds 1,500. A longer one is handed on as nothing.
pub const DATAGRAM_MAX: usize = 2_048;
/// Errors of a socket that are read over, such as ICMP's answers to what was sent by it. Each read clears one.
const ERRORS_MAX: usize = 4;

/// A datagram as it came.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// When the kernel had it, by the system's clock (`CLOCK_REALTIME`). None where the socket has no `SO_TIMESTAMPNS`, or
    /// the kernel gave none.
    pub at: Option<WallTime>,
    /// Who sent it.
    pub from: SocketAddr,
    /// Its octets. None of them where it was longer than [`DATAGRAM_MAX`]: what was cut is not what was sent.
    pub bytes: &'a [u8],
}

/// Whether all that had come was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// It was.
    Nothing,
    /// There may be more.
    Something,
}

/// How much a socket has most of the time when it has something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// A datagram: one stream sends to it.
    One,
    /// More.
    Many,
}

/// What a reading came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Datagrams.
    pub count: u64,
    /// System calls.
    pub calls: u64,
    /// Whether there are more.
    pub left: Left,
}

/// Buffers of a thread.
pub struct Batch {
    buffers: Box<[[u8; DATAGRAM_MAX]; BATCH]>,
    // The kernel writes the length of the last address into the headers, so each family has its own.
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            buffers: Box::new([[0; DATAGRAM_MAX]; BATCH]),
            v4: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            v6: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
        }
    }
}

impl Batch {
    /// Hands on what is there, in the order in which it came: [`FIRST`] datagrams where the socket is `expected` to have one
    /// at a time, and then at most so many times [`BATCH`], so that one that is flooded does not keep others waiting.
    /// `is_v6` is of the address that the socket is bound to.
    pub fn read(
        &mut self,
        socket: &UdpSocket,
        is_v6: bool,
        (expected, batches): (Expected, usize),
        each: &mut impl FnMut(Datagram<'_>),
    ) -> Taken {
        let Self { buffers, v4, v6 } = self;
        if is_v6 {
            read(socket, v6, buffers, (expected, batches), |a| SocketAddr::V6((*a).into()), each)
        } else {
            read(socket, v4, buffers, (expected, batches), |a| SocketAddr::V4((*a).into()), each)
        }
    }
}

fn read<S: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; BATCH],
    (expected, batches): (Expected, usize),
    address: impl Fn(&S) -> SocketAddr + Copy,
    each: &mut impl FnMut(Datagram<'_>),
) -> Taken {
    let mut taken = Taken { count: 0, calls: 0, left: Left::Nothing };
    if expected == Expected::One
        && let Some(few) = buffers.first_chunk_mut::<FIRST>()
        && take(socket, headers, few, &mut taken, address, each) < FIRST
    {
        return taken;
    }
    for _ in 0..batches {
        if take(socket, headers, buffers, &mut taken, address, each) < BATCH {
            return taken;
        }
    }
    Taken { left: Left::Something, ..taken }
}

/// At most N datagrams; fewer mean that there are no more.
fn take<S: SockaddrLike + Copy, const N: usize>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_MAX]; N],
    taken: &mut Taken,
    address: impl Fn(&S) -> SocketAddr + Copy,
    each: &mut impl FnMut(Datagram<'_>),
) -> usize {
    for _ in 0..ERRORS_MAX {
        taken.calls += 1;
        let mut slices = buffers.each_mut().map(|b| [IoSliceMut::new(b)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None) {
            Ok(received) => {
                let mut count = 0;
                for message in received {
                    count += 1;
                    hand_on(&message, address, each);
                }
                taken.count += count as u64;
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
    // What was cut is not what was sent, and an empty datagram has no slice: both are handed on as nothing.
    let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    let bytes = message.iovs().next().filter(|_| is_whole).unwrap_or_default();
    each(Datagram { at: kernel_time(message), from: address(from), bytes });
}

fn kernel_time<S>(message: &RecvMsg<'_, '_, S>) -> Option<WallTime> {
    message.cmsgs().ok()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(t) => {
            Some(WallTime(t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec())))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    fn any(ipv6: bool) -> UdpSocket {
        UdpSocket::bind(if ipv6 { "[::1]:0" } else { "127.0.0.1:0" }).unwrap()
    }

    #[test]
    fn datagrams_come_with_their_sender_and_a_kernel_time_whatever_came_before() {
        let (v4, v6) = (any(false), any(true));
        let (mut batch, one) = (Batch::default(), (Expected::One, 1));
        for round in 0..3_u8 {
            for (socket, is_v6) in [(&v4, false), (&v6, true)] {
                setsockopt(socket, sockopt::ReceiveTimestampns, &true).unwrap();
                let sender = any(is_v6);
                for n in 0..20_u8 {
                    sender.send_to(&[round, n], socket.local_addr().unwrap()).unwrap();
                }
                let (mut got, own) = (Vec::new(), sender.local_addr().unwrap());
                let mut each = |d: Datagram<'_>| {
                    assert_eq!(d.from, own);
                    assert!(d.at.unwrap().0 > 0);
                    got.push(d.bytes.to_vec());
                };
                let full = batch.read(socket, is_v6, one, &mut each);
                assert_eq!(full, Taken { count: 18, calls: 2, left: Left::Something });
                let rest = batch.read(socket, is_v6, one, &mut each);
                assert_eq!(rest, Taken { count: 2, calls: 2, left: Left::Nothing });
                let none = batch.read(socket, is_v6, one, &mut each);
                assert_eq!(none, Taken { count: 0, calls: 1, left: Left::Nothing });
                assert_eq!(got, (0..20).map(|n| vec![round, n]).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn one_that_is_too_long_or_empty_is_nothing_and_keeps_its_place() {
        let (socket, sender) = (any(false), any(false));
        let to = socket.local_addr().unwrap();
        let lengths = [1, 0, DATAGRAM_MAX, DATAGRAM_MAX + 1, 3];
        lengths.iter().for_each(|n| assert_eq!(sender.send_to(&vec![7; *n], to).unwrap(), *n));
        let mut got = Vec::new();
        Batch::default().read(&socket, false, (Expected::Many, 1), &mut |d| got.push((d.at, d.bytes.len())));
        let untimed = [1, 0, DATAGRAM_MAX, 0, 3].map(|n| (None, n));
        assert_eq!(got, untimed, "and who did not ask for times has none");
    }

    #[test]
    fn what_icmp_answers_to_what_was_sent_hides_nothing_that_came() {
        let (socket, gone, sender) = (any(false), any(false), any(false));
        // Only a socket that is connected is told that nobody is there.
        socket.connect(sender.local_addr().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        sender.send_to(b"media", own).unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        socket.connect(nobody).unwrap();
        socket.send(b"report").unwrap();
        let mut got = Vec::new();
        let taken =
            Batch::default().read(&socket, false, (Expected::One, 1), &mut |d| got.push(d.bytes.to_vec()));
        assert_eq!((got, taken.left), (vec![b"media".to_vec()], Left::Nothing));
        assert!(taken.calls > 1, "an error was read over: {taken:?}");
    }
}
