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

mod batch;
mod polled;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use model::WallTime;
use nix::sys::epoll::{Epoll, EpollCreateFlags};

use super::live::Which;
use polled::Polled;

/// A datagram as it came.
pub(crate) struct Datagram<'a> {
    /// When the kernel received it.
    pub(crate) at: WallTime,
    pub(crate) from: SocketAddr,
    /// Empty where it was longer than is read: what was cut is not what was sent.
    pub(crate) bytes: &'a [u8],
}

/// Whether all that had come was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Nothing,
    /// There may be more.
    Something,
}

/// Whose a socket is: the slot of a segment in its media thread, a stream of it, and which of its sockets. 64 bits, as
/// the kernel gives them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// A slot below 2^48, a stream below 2^15.
    pub(crate) fn new(slot: usize, stream: usize, which: Which) -> Self {
        Self((slot as u64) << 16 | (stream as u64 & 0x7fff) << 1 | u64::from(which == Which::Rtcp))
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

/// A source with all that can fail done, on its way to the thread that will own it.
pub(crate) enum Prepared {
    /// The one that every kernel has.
    Polled(Epoll),
}

impl Prepared {
    /// A socket for each port, looked at by `epoll` and read by `recvmmsg`.
    ///
    /// # Errors
    /// When the kernel has no descriptor for it.
    pub(crate) fn polled() -> io::Result<Self> {
        Ok(Self::Polled(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// To be called by the thread that reads.
    pub(crate) fn begin(self) -> Source {
        match self {
            Self::Polled(epoll) => Source::Polled(Polled::new(epoll)),
        }
    }
}

/// See the module.
pub(crate) enum Source {
    Polled(Polled),
}

impl Source {
    /// From now on what comes to this socket, and what waits there, is handed out under this key; also where it was
    /// watched under another.
    ///
    /// # Errors
    /// When the kernel refuses: nothing comes of this socket then.
    pub(crate) fn watch(&mut self, key: Key, socket: &Arc<UdpSocket>) -> io::Result<()> {
        match self {
            Self::Polled(polled) => polled.watch(key, socket),
        }
    }

    /// Nothing that comes to this socket, or came and was not taken, is handed out any more.
    pub(crate) fn forget(&mut self, socket: &UdpSocket) {
        match self {
            Self::Polled(polled) => polled.forget(socket),
        }
    }

    /// Hands out what has come until now, and says how many datagrams that were. Only where many times of what a stream
    /// brings has come to one socket, or to all of them, is the rest left for the next time: so nobody who floods keeps
    /// others waiting. `now` stands in where the kernel gave no time.
    pub(crate) fn take(&mut self, now: WallTime, each: &mut impl FnMut(Key, Datagram<'_>)) -> (u64, Left) {
        match self {
            Self::Polled(polled) => polled.take(now, each),
        }
    }
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
        }
    }
}
