//! Sends RTP: 20 ms of G.711 a packet, 50 packets a second on each stream, evenly spread, by `sendmmsg` of one socket.
//!
//! ```text
//!  a cycle of 20 ms   |s1 . s2 . s3 . s4 .|s1 . s2 . s3 . s4 .|   stream n leaves n/streams of the cycle after its begin
//! ```
//!
//! Sequence numbers have no hole but where the kernel refused a packet. A stream's time stamps follow the clock, so
//! that a pause, and what could not be sent in time, are silence and not loss.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use media::srtp::Outbound;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

use super::{Protection, Spread};

/// 20 ms at 8 kHz, one octet a sample.
const PAYLOAD: usize = 160;
/// Packets in one system call.
const BATCH: usize = 64;
/// From a packet of a stream to the next.
const PTIME: Duration = Duration::from_millis(20);
/// Behind by more than this, what is due is left out: a stream that comes in bursts is no load that anybody has.
const BEHIND_MAX: Duration = Duration::from_millis(30);
/// Sleeps when nothing is due. Short, so that packets come evenly.
pub(crate) const PAUSE: Duration = Duration::from_micros(300);
/// 4 MiB, so that a recorder that holds up the network for a moment does not hold up the sender.
const SEND_BUFFER: usize = 4 << 20;
/// Ports that are tried for an even one with its neighbor.
const PORT_TRIES: usize = 1_000;
/// How late packets left, in seconds.
const LATENESS: [f64; 7] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03];

/// What was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    /// What the kernel did not take: a hole in the numbers.
    pub(crate) refused: u64,
    /// Left out because this process could not send in time.
    pub(crate) late: u64,
    /// How long after their time packets left.
    pub(crate) lateness: Spread,
}

impl Default for Sent {
    fn default() -> Self {
        Self { packets: 0, refused: 0, late: 0, lateness: Spread::new(&LATENESS) }
    }
}

impl Sent {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.refused += other.refused;
        self.late += other.late;
        self.lateness.merge(&other.lateness);
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            refused: self.refused.saturating_sub(before.refused),
            late: self.late.saturating_sub(before.late),
            lateness: self.lateness.since(&before.lateness),
        }
    }
}

struct Stream {
    /// Whose it is.
    call: usize,
    to: SockaddrStorage,
    ssrc: u32,
    sequence: u16,
    /// What its packets are protected by.
    sealing: Option<Box<Outbound>>,
}

/// Sends to a set of streams, when it is told to.
pub(crate) struct Generator {
    socket: UdpSocket,
    streams: Vec<Stream>,
    /// Streams of this cycle: those that come in its middle wait for the next.
    active: usize,
    /// The next stream of the cycle.
    next: usize,
    /// Cycles since the start: what time stamps are made of.
    cycle: u64,
    cycle_began: Instant,
    next_ssrc: u32,
    payload: [u8; PAYLOAD],
    packets: Vec<Vec<u8>>,
    headers: MultiHeaders<SockaddrStorage>,
    protection: Option<Protection>,
    pub(crate) sent: Sent,
}

impl Generator {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            streams: Vec::new(),
            active: 0,
            next: 0,
            cycle: 0,
            cycle_began: Instant::now(),
            next_ssrc: 1,
            payload: speech(),
            packets: vec![Vec::new(); BATCH],
            headers: MultiHeaders::preallocate(BATCH, None),
            protection: None,
            sent: Sent::default(),
        }
    }

    /// Protects all streams that are added.
    pub(crate) fn protected_by(self, protection: Option<Protection>) -> Self {
        Self { protection, ..self }
    }

    /// Streams of a call, from the next cycle on.
    pub(crate) fn add(&mut self, call: usize, to: &[SocketAddr]) {
        for to in to {
            let sealing = self.protection.as_ref().and_then(Protection::of_stream).map(Box::new);
            let (to, ssrc) = ((*to).into(), self.next_ssrc);
            self.streams.push(Stream { call, to, ssrc, sequence: 0, sealing });
            self.next_ssrc = self.next_ssrc.wrapping_add(1);
        }
    }

    /// Sends nothing more to these calls.
    pub(crate) fn remove(&mut self, calls: &BTreeSet<usize>) {
        // Whoever had its turn in this cycle keeps it: the places before the next one close up.
        let gone = self.streams.iter().take(self.next).filter(|s| calls.contains(&s.call)).count();
        self.next -= gone;
        let active = self.streams.iter().take(self.active).filter(|s| calls.contains(&s.call)).count();
        self.active -= active;
        self.streams.retain(|s| !calls.contains(&s.call));
    }

    /// Goes on after a pause, in which nothing was due.
    pub(crate) fn resume(&mut self) {
        let cycles = self.cycle_began.elapsed().as_nanos() / PTIME.as_nanos();
        self.cycle += u64::try_from(cycles).unwrap_or(0);
        self.cycle_began = Instant::now();
        (self.next, self.active) = (0, self.streams.len());
    }

    /// Sends what is due, at most one batch; false when nothing is.
    pub(crate) fn step(&mut self) -> io::Result<bool> {
        let mut into = self.cycle_began.elapsed();
        if into > PTIME + BEHIND_MAX {
            self.give_up_cycles(into);
            into = self.cycle_began.elapsed();
        }
        if self.next >= self.active {
            if into < PTIME {
                return Ok(false);
            }
            self.begin_cycle(PTIME);
            into = into.saturating_sub(PTIME);
        }
        let due = part(self.active, into).min(self.active);
        let count = due.saturating_sub(self.next).min(BATCH);
        if count == 0 {
            return Ok(false);
        }
        let late = into.saturating_sub(PTIME.mul_f64(self.next as f64 / self.active as f64));
        let packets = self.send(self.next, count)?;
        self.sent.packets += packets;
        self.sent.refused += (count as u64).saturating_sub(packets);
        self.sent.lateness.add(late.as_secs_f64(), packets);
        self.next += count;
        Ok(true)
    }

    fn begin_cycle(&mut self, after: Duration) {
        self.cycle_began += after;
        self.cycle += 1;
        (self.next, self.active) = (0, self.streams.len());
    }

    /// This is the most that can be sent: goes on where the clock is.
    fn give_up_cycles(&mut self, into: Duration) {
        self.sent.late += (self.active - self.next) as u64;
        let cycles = u32::try_from(into.as_nanos() / PTIME.as_nanos()).unwrap_or(1).max(1);
        self.sent.late += u64::from(cycles - 1) * self.streams.len() as u64;
        self.cycle += u64::from(cycles - 1);
        self.begin_cycle(PTIME * cycles);
    }

    fn send(&mut self, first: usize, count: usize) -> io::Result<u64> {
        let timestamp = u32::try_from(self.cycle * PAYLOAD as u64 % (1 << 32)).unwrap_or(0);
        let mut addresses = [None; BATCH];
        let streams = self.streams.iter_mut().skip(first).take(count);
        for ((packet, stream), to) in self.packets.iter_mut().zip(streams).zip(&mut addresses) {
            write(packet, stream, timestamp, &self.payload);
            *to = Some(stream.to);
        }
        let slices: Vec<_> = self.packets.iter().take(count).map(|p| [IoSlice::new(p)]).collect();
        let to = addresses.get(..count).unwrap_or_default();
        let results =
            sendmmsg(self.socket.as_raw_fd(), &mut self.headers, &slices, to, [], MsgFlags::empty());
        match results {
            Ok(results) => Ok(results.count() as u64),
            // A full buffer, or what a firewall does: counted as refused.
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EPERM | nix::errno::Errno::ECONNREFUSED) => {
                Ok(0)
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// How many of a cycle's packets are due after so much of it.
fn part(streams: usize, into: Duration) -> usize {
    // The first is due at its begin.
    let due = into.as_nanos() * streams as u128 / PTIME.as_nanos() + 1;
    usize::try_from(due).unwrap_or(usize::MAX)
}

/// RFC 3550 section 5.1, payload type 0.
fn write(packet: &mut Vec<u8>, stream: &mut Stream, timestamp: u32, payload: &[u8; PAYLOAD]) {
    packet.clear();
    packet.extend_from_slice(&[0x80, 0]);
    packet.extend_from_slice(&stream.sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&stream.ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    stream.sequence = stream.sequence.wrapping_add(1);
    if let Some(sealing) = &mut stream.sealing {
        sealing.seal_rtp(packet);
    }
}

/// Anything but silence.
fn speech() -> [u8; PAYLOAD] {
    let mut payload = [0; PAYLOAD];
    payload.iter_mut().zip((0_u8..=255).cycle()).for_each(|(octet, n)| *octet = n.wrapping_mul(37));
    payload
}

/// A socket to send from, and the one beside it where reports come to.
pub(crate) fn sockets(local: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..PORT_TRIES {
        let rtp = UdpSocket::bind((local, 0))?;
        let port = rtp.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((local, port + 1))
        {
            socket2::SockRef::from(&rtp).set_send_buffer_size(SEND_BUFFER)?;
            return Ok((rtp, rtcp));
        }
    }
    Err(io::Error::other("no even port with a free neighbor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixed RTP header (RFC 3550 section 5.1).
    const HEADER: usize = 12;

    fn run(generator: &mut Generator) {
        let began = Instant::now();
        generator.resume();
        while began.elapsed() < Duration::from_millis(100) {
            if !generator.step().unwrap() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Reads what comes until nothing does for a while: SSRC, sequence, time stamp.
    fn read(socket: &UdpSocket) -> Vec<(u32, u16, u32)> {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 2_048];
        let mut found = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            assert_eq!((length, buffer[0], buffer[1]), (HEADER + PAYLOAD, 0x80, 0));
            let of =
                |at: usize| u32::from_be_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]);
            found.push((of(8), u16::from_be_bytes([buffer[2], buffer[3]]), of(4)));
        }
        found
    }

    #[test]
    fn what_is_protected_is_opened_by_the_key_of_the_offer() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let protection = Protection::by(model::Suite::AesCm128HmacSha1Tag80).unwrap();
        let mut opens = protection.opened_by();
        let (rtp, _rtcp) = sockets([127, 0, 0, 1].into()).unwrap();
        let mut generator = Generator::new(rtp).protected_by(Some(protection));
        generator.add(0, &[receiver.local_addr().unwrap()]);
        run(&mut generator);
        let mut buffer = [0; 2_048];
        for sequence in 0..generator.sent.packets {
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(length, HEADER + PAYLOAD + 10);
            let plain = opens.open_rtp(model::WallTime(0), &buffer[..length]).unwrap();
            assert_eq!((u64::from(plain[3]), &plain[HEADER..]), (sequence, &speech()[..]));
        }
    }

    #[test]
    fn streams_go_on_without_holes_whoever_comes_and_goes() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let (rtp, _rtcp) = sockets([127, 0, 0, 1].into()).unwrap();
        let mut generator = Generator::new(rtp);
        generator.add(0, &[to, to]);
        run(&mut generator);
        generator.add(1, &[to]);
        run(&mut generator);
        generator.remove(&BTreeSet::from([0]));
        std::thread::sleep(Duration::from_millis(50));
        run(&mut generator);
        let found = read(&receiver);
        assert_eq!(found.len() as u64, generator.sent.packets);
        for ssrc in 1..=3 {
            let of: Vec<_> = found.iter().filter(|f| f.0 == ssrc).collect();
            assert!(of.len() >= 2, "{ssrc}: {found:?}");
            for (n, (_, sequence, timestamp)) in of.iter().enumerate() {
                assert_eq!(usize::from(*sequence), n, "{ssrc}: {found:?}");
                assert_eq!(timestamp % 160, 0);
            }
            assert!(of.windows(2).all(|w| w[0].2 < w[1].2), "{ssrc}: {found:?}");
        }
    }
}
