//! A call as the thread has it: its relay, the ports of its ends, and who keeps it.

use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};

use media::relay::{EndId, Kept, Relay, Sends, Which};
use model::WallTime;
use nix::sys::socket::{setsockopt, sockopt};

use crate::{Keep, NewCall, Sockets};

pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) relay: Relay,
    /// By the place of their end.
    sockets: Vec<Option<Port>>,
    keep: Option<Box<dyn Keep>>,
}

struct Port {
    sockets: Sockets,
    is_v6: bool,
}

impl Call {
    pub(crate) fn new(number: u64, new: NewCall) -> Self {
        let mut sockets = Vec::new();
        for (end, own) in new.sockets {
            if sockets.len() <= end.index() {
                sockets.resize_with(end.index() + 1, || None);
            }
            let is_v6 = own.rtp.local_addr().is_ok_and(|a| a.is_ipv6());
            for socket in std::iter::once(&own.rtp).chain(&own.rtcp) {
                // Where the kernel gives no times, those of reading stand in.
                let _ = socket.set_nonblocking(true);
                let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
            }
            if let Some(place) = sockets.get_mut(end.index()) {
                *place = Some(Port { sockets: own, is_v6 });
            }
        }
        Self { number, relay: new.relay, sockets, keep: new.keep }
    }

    /// Which ports it has.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (usize, Which, BorrowedFd<'_>)> {
        self.sockets.iter().enumerate().flat_map(|(end, port)| {
            let sockets = port.iter().map(|p| &p.sockets);
            sockets.flat_map(move |s| {
                let rtcp = s.rtcp.iter().map(move |rtcp| (end, Which::Rtcp, rtcp.as_fd()));
                std::iter::once((end, Which::Rtp, s.rtp.as_fd())).chain(rtcp)
            })
        })
    }

    /// A port, and whether it is of IPv6.
    pub(crate) fn port(&self, end: usize, which: Which) -> Option<(&UdpSocket, bool)> {
        let port = self.sockets.get(end)?.as_ref()?;
        let socket = match which {
            Which::Rtp => &port.sockets.rtp,
            Which::Rtcp => port.sockets.rtcp.as_ref()?,
        };
        Some((socket, port.is_v6))
    }

    /// The same, with the relay to hand on what comes there.
    pub(crate) fn receiving(&mut self, end: usize, which: Which) -> Option<(&UdpSocket, bool, &mut Relay)> {
        let port = self.sockets.get(end)?.as_ref()?;
        let socket = match which {
            Which::Rtp => &port.sockets.rtp,
            Which::Rtcp => port.sockets.rtcp.as_ref()?,
        };
        Some((socket, port.is_v6, &mut self.relay))
    }

    /// The end of a place.
    pub(crate) fn end(&self, place: usize) -> Option<EndId> {
        self.relay.end_at(place)
    }

    pub(crate) fn keep(&mut self, kept: &Kept, sends: &Sends) {
        if let Some(keep) = &mut self.keep {
            keep.keep(kept, sends.packet(kept));
        }
    }

    pub(crate) fn pass(&mut self, now: WallTime) {
        self.relay.pass(now);
        if let Some(keep) = &mut self.keep {
            keep.pass(now);
        }
    }
}
