//! Source latching: which address a stream is received from.
//!
//! Many senders sit behind NAT, so SDP's address is a hint. The first packet latches its address; from then on
//! others are counted and not recorded, so that a stray second source never mixes into an ongoing one:
//!
//! ```text
//!  from the latched address                     ─► accepted
//!  the same SSRC, going on where it was         ─► change (NAT has rebound)
//!  SDP's address, since SDP changed it          ─► change
//!  SDP's address, two in a row                  ─► change (a stranger took its place in a silence)
//!  the latched one silent for 500 ms            ─► change
//!  two in a row, and the latched sent just one  ─► change (the one was the stray)
//!  else                                         ─► other source
//! ```

use std::net::SocketAddr;

use super::packet::Packet;

/// A source that is silent so long (nanoseconds) gives way to another.
const SILENT_NS: i64 = 500_000_000;
/// Packets of an unannounced payload type, in a row, after which a source is believed all the same.
const UNANNOUNCED_MAX: u8 = 3;

/// The source of a stream.
#[derive(Debug)]
pub(crate) struct Latch {
    source: Option<SocketAddr>,
    last_ns: i64,
    /// Packets of the source since it was latched, at most 2 are counted.
    packets: u8,
    others: Box<Others>,
}

/// Where else it may come from, asked for when a packet does.
#[derive(Debug)]
struct Others {
    expected: Option<SocketAddr>,
    /// SDP changed its address, and no packet has come from there since.
    expectation_new: bool,
    previous: Option<SocketAddr>,
    candidate: Option<Candidate>,
    changes: u32,
}

/// A source that is not accepted yet.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    in_a_row: u8,
}

/// What is known of a packet's payload type and SSRC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Familiar {
    /// SDP names the payload type.
    pub(crate) payload_type: bool,
    /// The SSRC is the current one and goes on where it was.
    pub(crate) continues: bool,
}

impl Latch {
    pub(crate) fn new(expected: Option<SocketAddr>) -> Self {
        let expected = expected.map(canonical);
        let others = Others { expected, expectation_new: false, previous: None, candidate: None, changes: 0 };
        Self { source: None, last_ns: i64::MIN, packets: 0, others: Box::new(others) }
    }

    /// SDP says where the sender is now.
    pub(crate) fn expect(&mut self, address: Option<SocketAddr>) {
        let address = address.map(canonical);
        if address != self.others.expected {
            self.others.expected = address;
            self.others.expectation_new = true;
        }
    }

    /// The latched source.
    pub(crate) const fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// Whether signalling, or a check, says that the sender is there, or it was found there.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        self.others.expected == Some(address) || self.source.map(canonical) == Some(address)
    }

    /// How often it changed.
    pub(super) fn changes(&self) -> u32 {
        self.others.changes
    }

    /// The source said goodbye: another one need not wait.
    pub(crate) fn gone(&mut self) {
        self.last_ns = i64::MIN;
    }

    /// Whether a packet is from the source. `familiar` is asked only when the address is another.
    #[inline]
    pub(crate) fn accepts(&mut self, packet: &Packet<'_>, familiar: impl FnOnce() -> Familiar) -> bool {
        if self.source != Some(packet.from) && !self.moves_to(packet, familiar()) {
            return false;
        }
        self.packets = self.packets.saturating_add(1).min(2);
        self.last_ns = packet.arrival.0;
        true
    }

    fn moves_to(&mut self, packet: &Packet<'_>, familiar: Familiar) -> bool {
        let others = &mut *self.others;
        let in_a_row = others.in_a_row(packet);
        let expected = others.expected == Some(canonical(packet.from));
        let known = familiar.payload_type || expected || in_a_row >= UNANNOUNCED_MAX;
        let moves = known
            && match self.source {
                None => true,
                Some(_) if familiar.continues => true,
                Some(_) if packet.arrival.0.saturating_sub(self.last_ns) >= SILENT_NS => true,
                Some(_) if self.packets < 2 => {
                    in_a_row >= 2 || expected || others.previous == Some(packet.from)
                }
                Some(_) => expected && (others.expectation_new || in_a_row >= 2),
            };
        if moves {
            others.previous = self.source.replace(packet.from);
            others.changes = others.changes.saturating_add(u32::from(others.previous.is_some()));
            others.candidate = None;
            others.expectation_new &= !expected;
            self.packets = 0;
        }
        moves
    }
}

impl Others {
    /// How many packets of another source came in a row, this one among them.
    fn in_a_row(&mut self, packet: &Packet<'_>) -> u8 {
        let before = self.candidate.filter(|c| {
            let ahead = packet.sequence.wrapping_sub(c.sequence);
            c.address == packet.from && c.ssrc == packet.ssrc && (1..=10).contains(&ahead)
        });
        let in_a_row = before.map_or(1, |c| c.in_a_row.saturating_add(1));
        let (address, ssrc, sequence) = (packet.from, packet.ssrc, packet.sequence);
        self.candidate = Some(Candidate { address, ssrc, sequence, in_a_row });
        in_a_row
    }
}

/// IPv4 written as IPv6 is IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
