//! RTCP of one stream: what the sender reports, and our receiver reports (RFC 3550 section 6).
//!
//! A recorder sends RR and SDES alone. Some session border controllers end a call that never gets any.

use std::net::SocketAddr;

use model::WallTime;
use rtcp_types::{
    Compound, CompoundBuilder, Packet, ReceiverReport, ReportBlock, RtcpPacketWriterExt, Sdes, SdesChunk,
    SdesItem,
};

/// Between reports (nanoseconds): the least that RFC 3550 section 6.2 allows without scaling.
const INTERVAL_NS: i64 = 5_000_000_000;
/// The longest CNAME that SDES holds.
const CNAME_MAX: usize = 255;
/// Report and description with the longest CNAME, rounded up.
const REPORT_MAX: usize = 512;
/// Cumulative loss is a signed number of 24 bits.
const LOST_MAX: u64 = 0x7f_ffff;

/// What a report says of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reception {
    pub(super) ssrc: u32,
    pub(super) highest: u64,
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) jitter_ticks: i64,
}

/// What an RTCP datagram told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// It was RTCP.
    pub(super) valid: bool,
    /// This source said goodbye.
    pub(super) bye: Option<u32>,
}

/// When the first report is due. `seed` differs between streams: it spreads the reports of many in time.
pub(super) fn first_due(seed: u64, start: WallTime) -> WallTime {
    let spread = i64::try_from((mix(seed) >> 32) % 1_000).unwrap_or(0) * (INTERVAL_NS / 2_000);
    WallTime(start.0.saturating_add(INTERVAL_NS / 2 + spread))
}

/// Whether a report that is due then is due now.
#[inline]
pub(super) fn is_due(at: WallTime, now: WallTime) -> bool {
    // More than an interval away: the wall clock stepped back.
    !(1..=INTERVAL_NS).contains(&at.nanos_since(now))
}

/// When the one after a report is due.
pub(super) const fn next_due(now: WallTime) -> WallTime {
    WallTime(now.0.saturating_add(INTERVAL_NS))
}

/// RTCP of a stream.
#[derive(Debug)]
pub(super) struct Rtcp {
    own_ssrc: u32,
    sender_report: Option<(u32, u32, WallTime)>,
    /// Expected and received at the last report, and of which source.
    prior: (u32, u64, u64),
}

impl Rtcp {
    /// `seed` differs between streams: it gives our SSRC.
    pub(super) fn new(seed: u64) -> Self {
        let own_ssrc = u32::try_from(mix(seed) & 0xffff_ffff).unwrap_or(1);
        Self { own_ssrc, sender_report: None, prior: (0, 0, 0) }
    }

    /// Reads what a sender sent.
    pub(super) fn read(&mut self, arrival: WallTime, bytes: &[u8]) -> Told {
        let mut told = Told::default();
        let Ok(compound) = Compound::parse(bytes) else { return told };
        for packet in compound {
            match packet {
                Ok(Packet::Sr(report)) => {
                    // The middle 32 bits of the NTP time (RFC 3550 section 6.4.1, LSR).
                    let middle = u32::try_from((report.ntp_timestamp() >> 16) & 0xffff_ffff).unwrap_or(0);
                    self.sender_report = Some((report.ssrc(), middle, arrival));
                }
                Ok(Packet::Bye(bye)) => told.bye = bye.ssrcs().next(),
                Ok(_) => {}
                Err(_) => return told,
            }
            told.valid = true;
        }
        told
    }

    /// Appends a report.
    pub(super) fn write(&mut self, now: WallTime, cname: &str, source: Option<Reception>, out: &mut Vec<u8>) {
        let mut report = ReceiverReport::builder(self.own_ssrc);
        if let Some(reception) = source {
            report = report.add_report_block(self.block(now, reception));
        }
        let mut end = cname.len().min(CNAME_MAX);
        while !cname.is_char_boundary(end) {
            end -= 1;
        }
        let name = SdesItem::builder(SdesItem::CNAME, &cname[..end]);
        let description = Sdes::builder().add_chunk(SdesChunk::builder(self.own_ssrc).add_item(name));
        let compound: CompoundBuilder<'_> = Compound::builder().add_packet(report).add_packet(description);
        let mut buffer = [0_u8; REPORT_MAX];
        if let Ok(length) = compound.write_into(&mut buffer) {
            out.extend_from_slice(&buffer[..length]);
        }
    }

    fn block(&mut self, now: WallTime, reception: Reception) -> rtcp_types::ReportBlockBuilder {
        let Reception { ssrc, highest, expected, received, jitter_ticks } = reception;
        let (prior_ssrc, prior_expected, prior_received) = self.prior;
        let same = prior_ssrc == ssrc;
        let expected_now = expected.saturating_sub(if same { prior_expected } else { 0 });
        let received_now = received.saturating_sub(if same { prior_received } else { 0 });
        self.prior = (ssrc, expected, received);
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255);
        let (last, delay) = match self.sender_report {
            Some((from, middle, at)) if from == ssrc => {
                // In units of 1/65536 s.
                let delay = now.nanos_since(at).clamp(0, 3_600_000_000_000) / 1_000 * 65_536 / 1_000_000;
                (middle, u32::try_from(delay).unwrap_or(u32::MAX))
            }
            _ => (0, 0),
        };
        let lost = expected.saturating_sub(received).min(LOST_MAX);
        ReportBlock::builder(ssrc)
            .fraction_lost(u8::try_from(fraction).unwrap_or(u8::MAX))
            .cumulative_lost(u32::try_from(lost).unwrap_or(0))
            .extended_sequence_number(u32::try_from(highest & 0xffff_ffff).unwrap_or(0))
            .interarrival_jitter(u32::try_from(jitter_ticks).unwrap_or(u32::MAX))
            .last_sender_report_timestamp(last)
            .delay_since_last_sender_report_timestamp(delay)
    }
}

/// Whether it is an RTCP compound from end to end.
pub(crate) fn is_valid(bytes: &[u8]) -> bool {
    Compound::parse(bytes).is_ok_and(|mut packets| packets.all(|p| p.is_ok()))
}

/// Who said goodbye in a compound that is valid from end to end.
pub(crate) fn goodbyes(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let compound = Compound::parse(bytes).ok().filter(|_| is_valid(bytes));
    compound.into_iter().flatten().filter_map(|packet| match packet {
        Ok(Packet::Bye(bye)) => bye.ssrcs().next(),
        _ => None,
    })
}

/// Where reports go: to the sender as packets show it when it is not where SDP says, else where SDP says.
pub(crate) fn destination(
    source: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    mux: bool,
) -> Option<SocketAddr> {
    let next_port = |a: SocketAddr| a.port().checked_add(1).map(|port| SocketAddr::new(a.ip(), port));
    match source {
        Some(source) if mux => Some(source),
        Some(source) => match remote_rtcp {
            Some(rtcp) if rtcp.ip().to_canonical() == source.ip().to_canonical() => Some(rtcp),
            _ => next_port(source),
        },
        None if mux => remote,
        None => remote_rtcp.or_else(|| remote.and_then(next_port)),
    }
}

/// `SplitMix64`: near seeds give numbers far apart.
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
