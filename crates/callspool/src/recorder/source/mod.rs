//! Where datagrams come from: the seam between the kernel and a media thread. It knows nothing of RTP.
//!
//! ```text
//!  watch(key, socket) ──►  source  ◄── forget(socket)
//!                            │ take(now): on each tick, and before orders that need all that came before them
//!                            ▼
//!                     (key, datagram) ──► segment ──► stream ──► receiver
//! ```
//!
//! A media thread owns one, and is the only one that reads. A stream is handed what comes to it; what it sends goes by
//! its sockets all the same. Whatever the source, datagrams of one sender to one port come in order, with the time at
//! which the kernel received them, and none comes that was sent to whoever had the port before.

mod packets;
#[cfg(test)]
mod suite;
mod uring;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use datagrams::Left;
use datagrams::Polled;
use model::WallTime;
use rings::Multishot;

use super::live::Which;
use super::ports::PortConfig;
use crate::clock::stepped;
use packets::Packets;
use uring::Uring;

/// A datagram as it came.
pub(crate) struct Datagram<'a> {
    /// When the kernel received it.
    pub(crate) at: WallTime,
    pub(crate) from: SocketAddr,
    /// Empty where it was longer than is read: what was cut is not what was sent.
    pub(crate) bytes: &'a [u8],
}

/// What a source hands out.
pub(crate) enum Coming<'a> {
    /// Something comes with this key soon, most likely.
    Soon(Key),
    /// It is here.
    Now(Key, Datagram<'a>),
}

/// Whose a socket is: the slot of a segment in its media thread, a stream of it, and which of its sockets; or, of one that
/// streams share, which pair it is of. 64 bits, as the kernel gives them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// Set where streams share the socket.
    const SHARED: u64 = 1 << 63;

    /// A slot below 2^47, a stream below 2^15.
    pub(crate) fn new(slot: usize, stream: usize, which: Which) -> Self {
        Self((slot as u64) << 16 | (stream as u64 & 0x7fff) << 1 | u64::from(which == Which::Rtcp))
    }

    /// Of a shared pair below 2^62: whose a datagram is depends on where it comes from.
    pub(crate) fn shared(pair: usize, which: Which) -> Self {
        Self(Self::SHARED | (pair as u64) << 1 | u64::from(which == Which::Rtcp))
    }

    /// Which shared pair it is of, if it is.
    #[inline]
    pub(crate) fn pair(self) -> Option<(usize, Which)> {
        let pair = usize::try_from((self.0 & !Self::SHARED) >> 1).unwrap_or(usize::MAX);
        self.is_shared().then(|| (pair, self.which()))
    }

    #[inline]
    pub(crate) const fn is_shared(self) -> bool {
        self.0 & Self::SHARED != 0
    }

    /// The same stream, with this one of its sockets.
    #[inline]
    pub(crate) fn at(self, which: Which) -> Self {
        Self(self.0 & !1 | u64::from(which == Which::Rtcp))
    }

    pub(crate) fn slot(self) -> usize {
        usize::try_from(self.0 >> 16).unwrap_or(usize::MAX)
    }

    pub(crate) fn stream(self) -> usize {
        usize::try_from((self.0 >> 1) & 0x7fff).unwrap_or(usize::MAX)
    }

    pub(crate) const fn which(self) -> Which {
        if self.0 & 1 == 1 { Which::Rtcp } else { Which::Rtp }
    }
}

/// Which sources there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A socket for each port, looked at by `epoll` and read by `recvmmsg`: every kernel has it.
    Sockets,
    /// A socket for each port, read by the kernel into buffers that are lent to it.
    IoUring,
    /// Packets for all ports in a ring that the kernel fills; sockets hold the ports.
    PacketRing,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Sockets, Self::IoUring, Self::PacketRing];

    /// As the setting has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::IoUring => "io_uring",
            Self::PacketRing => "packet_ring",
        }
    }

    /// What lets a process have it.
    pub(crate) const fn todo(self) -> &'static str {
        match self {
            Self::Sockets => "raise LimitNOFILE (ulimit -Hn)",
            Self::IoUring => {
                "use Linux 6.1 or newer, and allow io_uring (sysctl kernel.io_uring_disabled, seccomp)"
            }
            Self::PacketRing => "give the process CAP_NET_RAW and AF_PACKET, and memory for media.ring",
        }
    }
}

/// Whether this process may have a source; nothing is kept of the try.
///
/// # Errors
/// Why not.
pub(crate) fn possible(kind: Kind, ports: &PortConfig) -> io::Result<()> {
    match kind {
        Kind::Sockets => Prepared::polled().map(drop),
        Kind::IoUring => Multishot::new(uring::BUFFERS).map(drop),
        Kind::PacketRing => packets::possible(ports),
    }
}

/// The sources of all media threads.
pub(crate) struct Chosen {
    pub(crate) sources: Vec<Prepared>,
    pub(crate) kind: Kind,
    /// Why it is not the one that was wanted.
    pub(crate) instead: Option<String>,
}

impl Chosen {
    /// So many of a kind, with so many octets for each ring of packets; or sockets, which can always be read, where that is
    /// not to be had: what is not read as it was wanted is recorded all the same.
    ///
    /// # Errors
    /// When there are no descriptors.
    pub(crate) fn of(kind: Kind, ports: &PortConfig, count: usize, octets: usize) -> io::Result<Self> {
        let parts = u16::try_from(count).unwrap_or(u16::MAX);
        let all = |kind: Kind| {
            (0..parts)
                .map(|part| Prepared::new(kind, ports, (part, parts), octets))
                .collect::<io::Result<Vec<_>>>()
        };
        match all(kind) {
            Ok(sources) => Ok(Self { sources, kind, instead: None }),
            Err(e) if kind == Kind::Sockets => Err(e),
            Err(e) => {
                let instead = format!(
                    "media.source = \"{}\" is not to be had, and sockets are read instead, which costs more CPU: {e}; {}",
                    kind.name(),
                    kind.todo()
                );
                Ok(Self { sources: all(Kind::Sockets)?, kind: Kind::Sockets, instead: Some(instead) })
            }
        }
    }
}

/// A source with all that can fail done, on its way to the thread that will own it.
pub(crate) enum Prepared {
    Polled(datagrams::Prepared),
    /// With what is used if the thread cannot begin with it.
    Uring(rings::Prepared<Multishot>, datagrams::Prepared),
    Packets(Box<Packets>),
}

impl Prepared {
    /// # Errors
    /// When the kernel has no descriptor for it.
    pub(crate) fn polled() -> io::Result<Self> {
        Ok(Self::Polled(datagrams::Prepared::new()?))
    }

    fn new(kind: Kind, ports: &PortConfig, (part, parts): (u16, u16), octets: usize) -> io::Result<Self> {
        match kind {
            Kind::Sockets => Self::polled(),
            Kind::IoUring => {
                let spare = datagrams::Prepared::new()?;
                Ok(Self::Uring(Multishot::new(uring::BUFFERS)?, spare))
            }
            Kind::PacketRing => Ok(Self::Packets(Box::new(Packets::new(ports, part, parts, octets)?))),
        }
    }

    /// To be called by the thread that reads.
    pub(crate) fn begin(self) -> Source {
        match self {
            Self::Polled(polled) => Source::Polled(Box::new(polled.begin())),
            Self::Uring(ring, spare) => match ring.begin() {
                Ok(ring) => Source::Uring(Uring::new(ring)),
                Err(e) => {
                    tracing::error!("io_uring does not begin, and sockets are read instead: {e}");
                    Source::Polled(Box::new(spare.begin()))
                }
            },
            Self::Packets(packets) => Source::Packets(packets),
        }
    }
}

/// See the module.
pub(crate) enum Source {
    /// A socket for each port: `epoll` says which have something, `recvmmsg` takes it.
    Polled(Box<Polled>),
    Uring(Uring),
    Packets(Box<Packets>),
}

impl Source {
    /// From now on what comes to this socket, of so many streams, and what waits there, is handed out under this key; also
    /// where it was watched under another.
    ///
    /// # Errors
    /// When the kernel refuses: nothing comes of this socket then.
    pub(crate) fn watch(&mut self, key: Key, socket: &Arc<UdpSocket>, streams: u32) -> io::Result<()> {
        match self {
            Self::Polled(polled) => polled.watch(key.0, socket, streams),
            Self::Uring(uring) => uring.watch(key, socket, streams),
            Self::Packets(packets) => packets.watch(key, socket, streams),
        }
    }

    /// Nothing that comes to this socket, or came and was not taken, is handed out any more.
    pub(crate) fn forget(&mut self, socket: &UdpSocket) {
        match self {
            Self::Polled(polled) => polled.forget(socket),
            Self::Uring(uring) => uring.forget(socket),
            Self::Packets(packets) => packets.forget(socket),
        }
    }

    /// Hands out what has come until now, and says how many datagrams that were. Only where many times of what a stream
    /// brings has come to one socket, or to all of them, is the rest left for the next time: so nobody who floods keeps
    /// others waiting. `now` stands in where the kernel gave no time.
    ///
    /// Of most datagrams it is told a little before that they come.
    pub(crate) fn take_foretold(&mut self, now: WallTime, each: &mut impl FnMut(Coming<'_>)) -> (u64, Left) {
        match self {
            Self::Polled(polled) => {
                let taken = polled.take_foretold(&mut |coming| match coming {
                    datagrams::Coming::Soon(key) => each(Coming::Soon(Key(key))),
                    datagrams::Coming::Now(key, came) => {
                        let at = came.at.map_or(now, stepped);
                        each(Coming::Now(Key(key), Datagram { at, from: came.from, bytes: came.bytes }));
                    }
                });
                (taken.count, taken.left)
            }
            Self::Uring(uring) => uring.take(now, each),
            Self::Packets(packets) => packets.take(each),
        }
    }

    /// The same without being told before.
    #[cfg(test)]
    pub(crate) fn take(&mut self, now: WallTime, each: &mut impl FnMut(Key, Datagram<'_>)) -> (u64, Left) {
        self.take_foretold(now, &mut |coming| {
            if let Coming::Now(key, datagram) = coming {
                each(key, datagram);
            }
        })
    }

    /// Datagrams that came and were lost before they could be taken, since it was asked last, where the kernel says so.
    pub(crate) fn missed(&mut self) -> u64 {
        match self {
            Self::Polled(_) | Self::Uring(_) => 0,
            Self::Packets(packets) => packets.missed(),
        }
    }
}

/// A time of the kernel, since 1970.
fn wall(since: Duration) -> WallTime {
    stepped(WallTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_carries_comes_back() {
        for (slot, stream, which) in [(0, 0, Which::Rtp), (70_000, 15, Which::Rtcp), (1, 32_767, Which::Rtp)]
        {
            let key = Key::new(slot, stream, which);
            assert_eq!((key.slot(), key.stream(), key.which()), (slot, stream, which));
            assert_eq!((key.pair(), key.at(Which::Rtp).at(which)), (None, key));
            let shared = Key::shared(slot, which);
            assert_eq!(shared.pair(), Some((slot, which)));
            // It is of no segment.
            assert!(shared.slot() >= 1 << 47);
        }
    }
}
