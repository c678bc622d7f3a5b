//! The one thread that sends the media of all calls.
//!
//! A heap holds when each stream's next packet is due, by an absolute schedule: packet n of a stretch leaves
//! n × ptime after its first, however late the one before was. The thread sleeps until the earliest, at least
//! a tick, and sends all that is due; a packet costs one system call, so that thousands of
//! streams fit on a core. Sender reports go out each five seconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use media::srtp::Srtp;
use model::Protection;
use tokio::sync::mpsc::UnboundedSender;

use super::ports::StreamSockets;
use super::report::StreamReport;
use super::stream::{CLOCK_RATE, PacketConfig, Packets};
use super::voice::Voice;
use crate::clock;

/// Sleeping shorter than this costs more wake-ups than it gains: what is due within it leaves together.
const TICK: Duration = Duration::from_millis(1);

/// RFC 3550 section 6.2: the interval of a session of two.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Commands that are carried out before packets get their turn again.
const COMMANDS_PER_TURN: usize = 64;

/// What comes back is only counted; a flood of it must not hold up what is due.
const READS_PER_REPORT: usize = 1_000;

/// Which stream: the number of its call and its place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct StreamKey {
    pub(super) call: u32,
    pub(super) index: usize,
}

/// What a stream needs.
pub(super) struct NewStream {
    pub(super) sockets: StreamSockets,
    pub(super) voice: Arc<Voice>,
    pub(super) packets: PacketConfig,
    /// The stream is silent from there on, counted from its first start: the packets of a call are then the
    /// same in number however late its end is noticed.
    pub(super) length: Duration,
    pub(super) label: String,
}

enum Command {
    Open(StreamKey, Box<NewStream>),
    Start { key: StreamKey, rtp: SocketAddr, rtcp: Option<SocketAddr>, protection: Protection },
    Pause(StreamKey),
    Finish(StreamKey),
}

/// What the thread tells back.
#[derive(Debug)]
pub(super) enum Told {
    /// Nothing of the stream leaves any more, until it is started again.
    Paused(StreamKey),
    /// It is gone, and this was it.
    Finished(StreamKey, Box<StreamReport>),
    /// A handshake of it yielded keys, or did not; it is to be sent there.
    Shaken(StreamKey, SocketAddr, Option<SocketAddr>, Result<Box<Protection>, String>),
}

/// The way to the thread. Dropping it ends the thread.
pub(super) struct Sender {
    /// At most five commands per stream and hold: bounded by the calls.
    commands: Option<crossbeam_channel::Sender<Command>>,
    thread: Option<JoinHandle<Duration>>,
}

impl Sender {
    /// Starts the thread. It tells over `told`, at most one thing per command.
    pub(super) fn start(told: UnboundedSender<Told>) -> io::Result<Self> {
        let (commands, receiver) = crossbeam_channel::unbounded();
        let thread = std::thread::Builder::new()
            .name("caller-rtp".into())
            .spawn(move || Schedule::new(told).run(&receiver))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    pub(super) fn open(&self, key: StreamKey, stream: NewStream) {
        self.command(Command::Open(key, Box::new(stream)));
    }

    /// Begins or goes on sending; a stream that is sending goes to the new address.
    pub(super) fn begin(
        &self,
        key: StreamKey,
        rtp: SocketAddr,
        rtcp: Option<SocketAddr>,
        protection: Protection,
    ) {
        self.command(Command::Start { key, rtp, rtcp, protection });
    }

    /// Stops sending; told as `Paused`.
    pub(super) fn pause(&self, key: StreamKey) {
        self.command(Command::Pause(key));
    }

    /// Ends a stream; told as `Finished`.
    pub(super) fn finish(&self, key: StreamKey) {
        self.command(Command::Finish(key));
    }

    /// Ends the thread; gives the latest that a packet left after its time.
    pub(super) fn stop(mut self) -> Duration {
        self.commands = None;
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }

    fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread ends only when this side does.
            let _ = commands.send(command);
        }
    }
}

struct Stream {
    sockets: StreamSockets,
    voice: Arc<Voice>,
    packets: Packets,
    frame_samples: u32,
    /// In samples.
    length: u64,
    report: StreamReport,
    cname: String,
    rtp: Option<SocketAddr>,
    rtcp: Option<SocketAddr>,
    /// What packets are encrypted by, and where.
    srtp: Option<Srtp>,
    sealed: Vec<u8>,
    /// When the stream was first started: position 0.
    origin: Option<Instant>,
    sending: Option<Sending>,
    next_report: Instant,
}

/// A stretch of sending.
struct Sending {
    began: Instant,
    /// Position of its first frame, in samples.
    position: u64,
    frames: u64,
    /// Tells this stretch's entries in the heap from those of an earlier one.
    stretch: u64,
}

struct Schedule {
    told: UnboundedSender<Told>,
    streams: HashMap<StreamKey, Stream>,
    due: BinaryHeap<Reverse<(Instant, StreamKey, u64)>>,
    stretches: u64,
    latest: Duration,
}

impl Schedule {
    fn new(told: UnboundedSender<Told>) -> Self {
        Self { told, streams: HashMap::new(), due: BinaryHeap::new(), stretches: 0, latest: Duration::ZERO }
    }

    fn run(mut self, commands: &Receiver<Command>) -> Duration {
        loop {
            let command = match self.due.peek() {
                Some(Reverse((due, ..))) => {
                    let wait = due.saturating_duration_since(Instant::now()).max(TICK);
                    commands.recv_timeout(wait)
                }
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match command {
                Ok(command) => self.apply(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.latest,
            }
            for command in commands.try_iter().take(COMMANDS_PER_TURN) {
                self.apply(command);
            }
            self.send_due();
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Open(key, new) => {
                self.streams.insert(key, Stream::new(*new));
            }
            Command::Start { key, rtp, rtcp, protection } => {
                if let Some(stream) = self.streams.get_mut(&key) {
                    stream.protect(&protection);
                }
                self.start(key, rtp, rtcp);
            }
            Command::Pause(key) => {
                if let Some(stream) = self.streams.get_mut(&key) {
                    stream.pause();
                }
                let _ = self.told.send(Told::Paused(key));
            }
            Command::Finish(key) => {
                let report = self.streams.remove(&key).map(Stream::finish).unwrap_or_default();
                let _ = self.told.send(Told::Finished(key, Box::new(report)));
            }
        }
    }

    fn start(&mut self, key: StreamKey, rtp: SocketAddr, rtcp: Option<SocketAddr>) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.rtp = Some(rtp);
        stream.rtcp = rtcp;
        stream.report.remote = Some(rtp);
        if stream.sending.is_some() {
            return;
        }
        let now = Instant::now();
        let origin = *stream.origin.get_or_insert(now);
        self.stretches += 1;
        let position = samples(now - origin);
        stream.sending = Some(Sending { began: now, position, frames: 0, stretch: self.stretches });
        stream.next_report = now + REPORT_INTERVAL;
        self.due.push(Reverse((now, key, self.stretches)));
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        // One clock reading serves the whole turn; packets that fall due meanwhile have the next one.
        let wall = clock::wall();
        while let Some(Reverse((due, key, stretch))) = self.due.peek().copied() {
            if due > now {
                return;
            }
            self.due.pop();
            let Some(stream) = self.streams.get_mut(&key) else { continue };
            if stream.sending.as_ref().is_none_or(|s| s.stretch != stretch) {
                continue;
            }
            self.latest = self.latest.max(now - due);
            if let Some(next) = stream.send(now, wall) {
                self.due.push(Reverse((next, key, stretch)));
            }
        }
    }
}

impl Stream {
    fn new(new: NewStream) -> Self {
        let report =
            StreamReport { label: new.label, local: Some(new.sockets.local), ..StreamReport::default() };
        Self {
            cname: format!("caller@{}", new.sockets.local),
            frame_samples: new.packets.frame_samples,
            length: samples(new.length),
            packets: Packets::new(new.packets),
            sockets: new.sockets,
            voice: new.voice,
            report,
            rtp: None,
            rtcp: None,
            srtp: None,
            sealed: Vec::new(),
            origin: None,
            sending: None,
            next_report: Instant::now(),
        }
    }

    /// Sends the frame that is due; gives when the next one is, when there is one.
    fn send(&mut self, now: Instant, wall: model::WallTime) -> Option<Instant> {
        let (sending, remote) = (self.sending.as_mut()?, self.rtp?);
        let position = sending.position + sending.frames * u64::from(self.frame_samples);
        if position >= self.length {
            return None;
        }
        sending.frames += 1;
        let next = sending.began + duration(sending.frames * u64::from(self.frame_samples));
        if now >= self.next_report {
            self.next_report += REPORT_INTERVAL;
            self.exchange_reports(wall);
        }
        let Self { sockets, srtp, sealed, packets, voice, .. } = self;
        let emit = &mut |packet: &[u8]| emit(&sockets.rtp, remote, srtp.as_mut(), sealed, packet);
        packets.frame(position, wall, voice, emit);
        Some(next)
    }

    /// Says by what packets are encrypted from now on.
    fn protect(&mut self, protection: &Protection) {
        match (&mut self.srtp, protection) {
            (Some(srtp), Protection::Srtp { inbound, outbound }) => srtp.update(inbound, outbound),
            (srtp, Protection::Srtp { inbound, outbound }) => *srtp = Srtp::new(inbound, outbound),
            (srtp, Protection::None | Protection::Dtls(_) | Protection::Awaited | Protection::Given(_)) => {
                *srtp = None;
            }
        }
    }

    fn pause(&mut self) {
        self.sending = None;
        let Some(remote) = self.rtp else { return };
        let Self { sockets, srtp, sealed, packets, .. } = self;
        packets.pause(&mut |packet: &[u8]| emit(&sockets.rtp, remote, srtp.as_mut(), sealed, packet));
    }

    fn finish(mut self) -> StreamReport {
        self.pause();
        self.read_back();
        let mut report = self.report;
        report.runs = self.packets.runs().to_vec();
        report.unsent = self.packets.unsent();
        report.media_ms = self.packets.media_ms();
        for run in &report.runs {
            report.packets += run.packets;
            report.octets += run.octets;
            report.skipped += run.skipped;
            report.duplicated += run.duplicated;
            report.reordered += run.reordered;
        }
        report
    }

    fn exchange_reports(&mut self, wall: model::WallTime) {
        if let Some(remote) = self.rtcp {
            let mut report = self.packets.sender_report(wall, &self.cname);
            let ready = self.srtp.as_mut().is_none_or(|srtp| srtp.seal_rtcp(clock::unset(), &mut report));
            if !ready {
                return self.read_back();
            }
            self.report.sender_reports += u64::from(self.sockets.rtcp.send_to(&report, remote).is_ok());
        }
        self.read_back();
    }

    /// Counts what came back.
    fn read_back(&mut self) {
        let mut buffer = [0; 1_500];
        for _ in 0..READS_PER_REPORT {
            let Ok(length) = self.sockets.rtcp.recv(&mut buffer) else { break };
            let came = buffer.get(..length).unwrap_or_default();
            let report = match &mut self.srtp {
                Some(srtp) => srtp.open_rtcp(clock::wall(), came).unwrap_or_default(),
                None => came,
            };
            if let Some(lost) = reported_lost(report) {
                self.report.receiver_reports += 1;
                self.report.reported_lost = lost.or(self.report.reported_lost);
            }
        }
        for _ in 0..READS_PER_REPORT {
            if self.sockets.rtp.recv(&mut buffer).is_err() {
                break;
            }
            self.report.received += 1;
        }
    }
}

/// Sends a packet, encrypted where that is wanted.
fn emit(
    socket: &UdpSocket,
    to: SocketAddr,
    srtp: Option<&mut Srtp>,
    sealed: &mut Vec<u8>,
    packet: &[u8],
) -> bool {
    let Some(srtp) = srtp else { return socket.send_to(packet, to).is_ok() };
    sealed.clear();
    sealed.extend_from_slice(packet);
    srtp.seal_rtp(sealed) && socket.send_to(sealed, to).is_ok()
}

/// Of a compound packet that begins with a receiver report (RFC 3550 section 6.4.2): the cumulative number of
/// packets lost of its first block, when it has one.
fn reported_lost(packet: &[u8]) -> Option<Option<i32>> {
    let (head, kind) = (*packet.first()?, *packet.get(1)?);
    if head >> 6 != 2 || kind != 201 {
        return None;
    }
    if head & 0x1f == 0 {
        return Some(None);
    }
    let lost: [u8; 3] = packet.get(13..16)?.try_into().ok()?;
    let [high, middle, low] = lost;
    // 24 bits, signed: duplicates can make it negative.
    Some(Some(i32::from_be_bytes([high, middle, low, 0]) >> 8))
}

fn samples(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / (1_000_000 / u64::from(CLOCK_RATE))
}

fn duration(samples: u64) -> Duration {
    Duration::from_micros(samples * (1_000_000 / u64::from(CLOCK_RATE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_report_is_told_from_what_is_none() {
        let block = [0x81, 201, 0, 7, 1, 1, 1, 1, 2, 2, 2, 2, 9, 0xff, 0xff, 0xfe, 0, 0];
        assert_eq!(reported_lost(&block), Some(Some(-2)));
        assert_eq!(reported_lost(&[0x80, 201, 0, 1, 1, 1, 1, 1]), Some(None));
        for other in [&[0x81, 200, 0, 7][..], &[0x81, 201, 0], &[0x01, 201], &[]] {
            assert_eq!(reported_lost(other), None, "{other:?}");
        }
    }

    #[test]
    fn samples_and_time_convert_both_ways() {
        assert_eq!(samples(Duration::from_millis(20)), 160);
        assert_eq!(duration(160), Duration::from_millis(20));
        assert_eq!(samples(duration(12_345_678)), 12_345_678);
    }
}
