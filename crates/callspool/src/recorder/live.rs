//! A live segment as a media thread holds it: its sockets, its receivers and its writer.
//!
//! Datagrams go from the socket through the stream's receiver into the segment's buffer, with no queue between.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use media::rtp::{Frame, FrameSink, StreamReceiver};
use model::peer::Flowing;
use model::{Now, OpenStream, SegmentId, StreamPorts, StreamRecord, WallTime};
use spool::SegmentWriter;

use super::ingest::{BATCH, Batch};
use super::ports::{Ports, Sockets};

/// Batches that one socket may bring per tick: with 5 ms, over 12,000 packets a second. What floods faster waits
/// in the kernel's buffer and is lost there, so that one stream cannot starve the others.
const BATCHES_PER_TICK: usize = 4;

/// A stream of a live segment.
pub(crate) struct LiveStream {
    pub(crate) open: OpenStream,
    pub(crate) sockets: Sockets,
    receiver: StreamReceiver,
    /// Since when media are expected: its time-out counts from here when none have come.
    expected_since: WallTime,
}

/// See the module.
pub(crate) struct LiveSegment {
    pub(crate) id: SegmentId,
    pub(crate) writer: SegmentWriter,
    pub(crate) streams: Vec<LiveStream>,
    started: WallTime,
    timed_out: bool,
    has_dropped: bool,
}

struct IntoSegment<'a>(&'a mut SegmentWriter);

impl FrameSink for IntoSegment<'_> {
    fn frame(&mut self, frame: &Frame<'_>) {
        self.0.push(frame);
    }
}

impl LiveStream {
    pub(crate) fn bind(
        open: &OpenStream,
        ports: &Ports,
        started: WallTime,
        now: WallTime,
    ) -> io::Result<Self> {
        let sockets = ports.open(open.family, open.rtcp_mux)?;
        let mut receiver = StreamReceiver::new(open, started);
        receiver.set_port(sockets.told_rtp.port());
        Ok(Self { open: open.clone(), sockets, receiver, expected_since: now })
    }

    pub(crate) fn ports(&self) -> StreamPorts {
        StreamPorts { stream: self.open.stream, rtp: self.sockets.told_rtp, rtcp: self.sockets.told_rtcp }
    }

    fn record(&self) -> StreamRecord {
        self.receiver.record(self.sockets.told_rtp.port())
    }

    fn update(&mut self, now: WallTime, open: &OpenStream) {
        if self.open.flowing != Flowing::Active && open.flowing == Flowing::Active {
            self.expected_since = now;
        }
        self.receiver.update(now, open);
        self.open = open.clone();
    }

    fn silent_for(&self, now: WallTime) -> Duration {
        let last = self.receiver.last_packet().unwrap_or(self.expected_since);
        now.since(last.max(self.expected_since))
    }

    /// Reads what is there on the RTP socket, or on the RTCP socket.
    fn read(&mut self, which: Which, batch: &mut Batch, now: WallTime, writer: &mut SegmentWriter) -> u64 {
        let ipv6 = self.sockets.told_rtp.is_ipv6();
        let Self { sockets, receiver, open, .. } = self;
        let socket = match (which, &sockets.rtcp) {
            (Which::Rtcp, Some(rtcp)) => rtcp,
            _ => &sockets.rtp,
        };
        let rtcp_port = matches!(which, Which::Rtcp) && sockets.rtcp.is_some();
        let mut total = 0;
        for _ in 0..BATCHES_PER_TICK {
            let count = batch.read(socket, ipv6, now, &mut |d| {
                if rtcp_port || (open.rtcp_mux && is_rtcp(d.bytes)) {
                    receiver.rtcp(d.at, d.from, d.bytes);
                } else {
                    receiver.packet(d.at, d.from, d.bytes, &mut IntoSegment(writer));
                }
            });
            total += count as u64;
            if count < BATCH {
                break;
            }
        }
        total
    }
}

/// Which socket of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Rtp,
    Rtcp,
}

/// RTP and RTCP on one port are told apart by the second octet (RFC 5761 section 4).
fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|t| (192..=223).contains(t))
}

impl LiveSegment {
    pub(crate) fn new(
        id: SegmentId,
        started: WallTime,
        mut writer: SegmentWriter,
        streams: Vec<LiveStream>,
    ) -> Self {
        for stream in &streams {
            writer.local_address(stream.open.stream, stream.sockets.told_rtp);
        }
        Self { id, writer, streams, started, timed_out: false, has_dropped: false }
    }

    pub(crate) fn ports(&self) -> Vec<StreamPorts> {
        self.streams.iter().map(LiveStream::ports).collect()
    }

    pub(crate) fn read(&mut self, stream: usize, which: Which, batch: &mut Batch, now: WallTime) -> u64 {
        match self.streams.get_mut(stream) {
            Some(s) => s.read(which, batch, now, &mut self.writer),
            None => 0,
        }
    }

    /// Takes the streams as they are wanted now: known ones keep their ports, new ones get some, missing ones
    /// close. Nothing changes when a port cannot be had.
    pub(crate) fn change(&mut self, now: Now, wanted: &[OpenStream], ports: &Ports) -> io::Result<()> {
        let mut fresh = Vec::new();
        for open in wanted {
            if !self.streams.iter().any(|s| s.open.stream == open.stream) {
                fresh.push(LiveStream::bind(open, ports, self.started, now.wall)?);
            }
        }
        for stream in &mut self.streams {
            match wanted.iter().find(|w| w.stream == stream.open.stream) {
                Some(open) => stream.update(now.wall, open),
                // Its record stays; it only receives nothing any more.
                None => {
                    let mut gone = stream.open.clone();
                    gone.flowing = Flowing::Held;
                    stream.update(now.wall, &gone);
                }
            }
        }
        self.writer.change_streams(now, wanted);
        for stream in &fresh {
            self.writer.local_address(stream.open.stream, stream.sockets.told_rtp);
        }
        self.streams.append(&mut fresh);
        Ok(())
    }

    /// Notes that media were dropped; true the first time.
    pub(crate) fn first_drop(&mut self) -> bool {
        !std::mem::replace(&mut self.has_dropped, true)
    }

    /// Releases what waited for reordering.
    pub(crate) fn tick(&mut self, now: Now) {
        for stream in &mut self.streams {
            stream.receiver.tick(now.wall, &mut IntoSegment(&mut self.writer));
        }
    }

    /// Takes in the last that came.
    pub(crate) fn finish(&mut self, now: Now, batch: &mut Batch) {
        for stream in &mut self.streams {
            stream.read(Which::Rtp, batch, now.wall, &mut self.writer);
            if stream.sockets.rtcp.is_some() {
                stream.read(Which::Rtcp, batch, now.wall, &mut self.writer);
            }
            stream.receiver.finish(now.wall, &mut IntoSegment(&mut self.writer));
        }
    }

    pub(crate) fn records(&self) -> Vec<StreamRecord> {
        self.streams.iter().map(LiveStream::record).collect()
    }

    /// Sends receiver reports that are due.
    pub(crate) fn report(&mut self, now: WallTime, cname: &str, buffer: &mut Vec<u8>) {
        for stream in &mut self.streams {
            buffer.clear();
            if let Some(to) = stream.receiver.report(now, cname, buffer) {
                let socket = stream.sockets.rtcp.as_ref().unwrap_or(&stream.sockets.rtp);
                // A report that cannot be sent is not missed: the next one says the same and more.
                let _ = socket.send_to(buffer, to);
            }
        }
    }

    /// Whether media are expected and none came for `limit`; true once.
    pub(crate) fn times_out(&mut self, now: WallTime, limit: Duration) -> bool {
        if self.timed_out || limit.is_zero() {
            return false;
        }
        let mut active = self.streams.iter().filter(|s| s.open.flowing == Flowing::Active).peekable();
        self.timed_out = active.peek().is_some() && active.all(|s| s.silent_for(now) >= limit);
        self.timed_out
    }

    /// The sockets to watch, with the stream's index.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (usize, Which, BorrowedFd<'_>)> {
        self.streams.iter().enumerate().flat_map(|(i, s)| {
            let rtcp = s.sockets.rtcp.as_ref().map(|r: &UdpSocket| (i, Which::Rtcp, r.as_fd()));
            std::iter::once((i, Which::Rtp, s.sockets.rtp.as_fd())).chain(rtcp)
        })
    }

    /// The SDP address of a stream, for logs.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.streams.first().and_then(|s| s.open.remote)
    }
}
