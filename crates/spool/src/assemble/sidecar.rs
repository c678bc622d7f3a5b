//! The sidecar as a source of media: codecs that no player knows are kept there as whole packets.
//!
//! A packet's stream is told by the port that it came to, its codec by its payload type, and its place by the
//! nearest anchor of its source before it. Without an anchor it lies where it arrived.

use std::io::BufReader;

use media::rtp::RtpView;
use model::{Anchor, SegmentRecord, StreamRecord, WallTime};

use super::Note;
use super::lane::Coding;
use super::source::{Found, coding_of};
use crate::codec::{TICK_US, TrackCodec};
use crate::op::{Files, ReadSeek};
use crate::pcap::{SidecarPacket, SidecarReader};

/// 20 s: days of drift; an anchor that places a packet so far from its arrival is another source's.
const OFF_MAX_US: i64 = 20_000_000;

enum State {
    Closed,
    Open {
        reader: Box<SidecarReader<BufReader<Box<dyn ReadSeek>>>>,
        ahead: Option<(i64, usize, SidecarPacket)>,
    },
    Done,
}

/// A sidecar and how far it has been read.
pub(super) struct SidecarSource {
    /// Index of its segment.
    pub(super) segment: usize,
    /// Of which second copy it is, if it is of one.
    pub(super) twin: Option<usize>,
    path: String,
    state: State,
}

impl SidecarSource {
    /// None where a segment's sidecar holds nothing that can be heard.
    pub(super) fn of(segment: usize, record: &SegmentRecord, directory: &str) -> Option<Self> {
        let sidecar = record.sidecar.as_ref()?;
        let is_heard = record.streams.iter().any(has_heard);
        is_heard.then(|| Self {
            segment,
            twin: None,
            path: format!("{directory}/{}", sidecar.file),
            state: State::Closed,
        })
    }

    /// The same, of a second copy.
    pub(super) fn of_twin(self, twin: usize) -> Self {
        Self { twin: Some(twin), ..self }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn has_opened(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Reads on to the tick `until` of the segment, handing each packet of media to `each`.
    pub(super) fn read(
        &mut self,
        until: i64,
        record: &SegmentRecord,
        files: &dyn Files,
        notes: &mut Vec<Note>,
        mut each: impl FnMut(Found),
    ) {
        if matches!(self.state, State::Closed) {
            let opened = files.open(&self.path).map_err(|e| e.to_string());
            match opened.and_then(|f| SidecarReader::new(BufReader::new(f)).map_err(|e| e.to_string())) {
                Ok(reader) => self.state = State::Open { reader: Box::new(reader), ahead: None },
                Err(why) => {
                    notes.push(Note::Unreadable { path: self.path.clone(), why });
                    self.state = State::Done;
                }
            }
        }
        loop {
            let State::Open { reader, ahead } = &mut self.state else { return };
            let next = ahead.take().or_else(|| next(reader, record));
            let Some((tick, stream, packet)) = next else {
                self.state = State::Done;
                return;
            };
            if tick >= until {
                *ahead = Some((tick, stream, packet));
                return;
            }
            let stream = record.streams.get(stream);
            let rtp = RtpView::read(&packet.payload);
            if let (Some(stream), Some(rtp)) = (stream, rtp)
                && let Some(coding) = coding(stream, rtp.payload_type, packet.at)
            {
                each(Found { tick, stream: stream.id, coding: Ok(coding), payload: rtp.payload.to_vec() });
            }
        }
    }
}

/// Whether a stream has a codec that only the sidecar holds and that can be heard.
pub(super) fn has_heard(stream: &StreamRecord) -> bool {
    let codecs = stream.codecs.iter().filter_map(|c| c.codec.as_ref());
    codecs.filter(|c| TrackCodec::of(c).is_none()).any(|c| coding_of(c).is_some())
}

/// The next packet that is media of a stream, with its place.
fn next(
    reader: &mut SidecarReader<BufReader<Box<dyn ReadSeek>>>,
    record: &SegmentRecord,
) -> Option<(i64, usize, SidecarPacket)> {
    while let Some(packet) = reader.next_packet().ok()? {
        let stream = record.streams.iter().position(|s| s.port == packet.to.port());
        if let Some(index) = stream
            && let Some(stream) = record.streams.get(index)
            && let Some(rtp) = RtpView::read(&packet.payload)
            && coding(stream, rtp.payload_type, packet.at).is_some()
        {
            return Some((tick(stream, &rtp, packet.at, record.started), index, packet));
        }
    }
    None
}

fn coding(stream: &StreamRecord, payload_type: u8, at: WallTime) -> Option<Coding> {
    let uses = stream.codecs.iter().filter(|u| u.payload_type == payload_type);
    let then = uses.clone().rfind(|u| u.from <= at).or_else(|| uses.clone().next())?;
    coding_of(then.codec.as_ref()?)
}

/// Where a packet lies on the time line of its segment, in ticks.
pub(super) fn tick(stream: &StreamRecord, rtp: &RtpView<'_>, at: WallTime, started: WallTime) -> i64 {
    let arrived_us = at.nanos_since(started) / 1_000;
    let clock =
        stream.codecs.iter().find(|u| u.payload_type == rtp.payload_type).and_then(|u| u.codec.as_ref());
    let clock = i64::from(clock.map_or(8_000, |c| c.clock_rate.max(1)));
    let by = |anchor: &Anchor| {
        let ticks = i64::from(rtp.timestamp.wrapping_sub(anchor.rtp).cast_signed());
        anchor.position_us.saturating_add(ticks.saturating_mul(1_000_000).div_euclid(clock))
    };
    let anchors = stream.anchors.iter().filter(|a| a.ssrc == rtp.ssrc);
    let before = anchors.clone().rfind(|a| a.at <= at).or_else(|| anchors.clone().next());
    let position = before.map(by).filter(|us| us.abs_diff(arrived_us) <= OFF_MAX_US.unsigned_abs());
    position.unwrap_or(arrived_us).max(0).div_euclid(TICK_US)
}
