//! A call as the thread has it: its relay, the ports of its ends, and who keeps it.

use std::net::UdpSocket;
use std::sync::Arc;

use media::relay::{Kept, Relay, Sends, Which};
use model::WallTime;
use nix::sys::socket::{setsockopt, sockopt};

use crate::{Keep, NewCall, Sockets};

pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) relay: Relay,
    /// By the place of their end.
    ports: Vec<Option<Ports>>,
    keep: Option<Box<dyn Keep>>,
}

/// The sockets of an end, shared with whatever reads them.
struct Ports {
    rtp: Arc<UdpSocket>,
    rtcp: Option<Arc<UdpSocket>>,
}

impl Call {
    pub(crate) fn new(number: u64, new: NewCall) -> Self {
        let mut ports = Vec::new();
        for (end, Sockets { rtp, rtcp }) in new.sockets {
            if ports.len() <= end.index() {
                ports.resize_with(end.index() + 1, || None);
            }
            for socket in std::iter::once(&rtp).chain(&rtcp) {
                // Where the kernel gives no times, those of reading stand in.
                let _ = socket.set_nonblocking(true);
                let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
            }
            if let Some(place) = ports.get_mut(end.index()) {
                *place = Some(Ports { rtp: Arc::new(rtp), rtcp: rtcp.map(Arc::new) });
            }
        }
        Self { number, relay: new.relay, ports, keep: new.keep }
    }

    /// Its ports, each with the place of its end.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (usize, Which, &Arc<UdpSocket>)> {
        let ports = self.ports.iter().enumerate().filter_map(|(end, ports)| Some((end, ports.as_ref()?)));
        ports.flat_map(|(end, Ports { rtp, rtcp })| {
            let rtcp = rtcp.iter().map(move |rtcp| (end, Which::Rtcp, rtcp));
            std::iter::once((end, Which::Rtp, rtp)).chain(rtcp)
        })
    }

    /// A port.
    pub(crate) fn port(&self, end: usize, which: Which) -> Option<&UdpSocket> {
        let Ports { rtp, rtcp } = self.ports.get(end)?.as_ref()?;
        match which {
            Which::Rtp => Some(rtp),
            Which::Rtcp => rtcp.as_deref(),
        }
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
