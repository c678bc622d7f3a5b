//! A socket for each port, of which the kernel puts what comes into buffers that are lent to it (io_uring).

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use model::WallTime;
use rings::Multishot;

use super::{Coming, Datagram, Key, Left, wall};

/// 4.3 MiB of buffers: what 5,000 calls bring in four ticks of 5 ms. What finds none waits in its socket.
pub(super) const BUFFERS: u16 = 2_048;
/// Takings between two lines about a kernel that refuses: a second of ticks of 5 ms.
const TOLD_EVERY: u64 = 200;

/// See the module.
pub(crate) struct Uring {
    ring: Box<Multishot>,
    refused: u64,
}

impl Uring {
    pub(super) fn new(ring: Box<Multishot>) -> Self {
        Self { ring, refused: 0 }
    }

    pub(super) fn watch(&mut self, key: Key, socket: &Arc<UdpSocket>, streams: u32) -> io::Result<()> {
        self.ring.watch_shared(key.0, socket, streams)
    }

    pub(super) fn forget(&mut self, socket: &UdpSocket) {
        self.ring.forget(socket);
    }

    pub(super) fn take(&mut self, now: WallTime, each: &mut impl FnMut(Coming<'_>)) -> (u64, Left) {
        let taken = self.ring.take(|key, received| {
            let at = received.at.map_or(now, wall);
            each(Coming::Now(Key(key), Datagram { at, from: received.from, bytes: received.bytes }));
        });
        match taken {
            Ok(taken) => (taken.count, if taken.is_all { Left::Nothing } else { Left::Something }),
            Err(e) => {
                if self.refused.is_multiple_of(TOLD_EVERY) {
                    tracing::error!("media are not received: io_uring: {e}; set media.source = \"sockets\"");
                }
                self.refused += 1;
                (0, Left::Something)
            }
        }
    }
}
