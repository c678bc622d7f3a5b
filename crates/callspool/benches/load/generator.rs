//! Sends RTP: 20 ms of G.711 a packet, 50 packets a second on each stream, evenly spread, by `sendmmsg` of one socket.
//!
//! Sequence numbers have no hole but where the kernel refused a packet. A stream's time stamps follow the clock, so
//! that a pause between two turns, and what could not be sent in time, are silence and not loss.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

/// 20 ms at 8 kHz, one octet a sample.
const PAYLOAD: usize = 160;
/// The fixed RTP header.
const HEADER: usize = 12;
/// Packets in one system call.
const BATCH: usize = 64;
/// From a packet of a stream to the next.
const PTIME: Duration = Duration::from_millis(20);
/// Sleeps when nothing is due. Short, so that packets come evenly.
const PAUSE: Duration = Duration::from_micros(300);

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    /// Left out because this process could not send in time.
    pub(crate) late: u64,
    pub(crate) took: Duration,
}

struct Stream {
    to: SockaddrIn,
    ssrc: u32,
    sequence: u16,
}

/// Sends to a set of streams.
pub(crate) struct Generator<'a> {
    socket: &'a UdpSocket,
    streams: Vec<Stream>,
    epoch: Instant,
    payload: [u8; PAYLOAD],
    packets: Vec<[u8; HEADER + PAYLOAD]>,
    headers: MultiHeaders<SockaddrIn>,
    /// Since the start, over all turns.
    pub(crate) sent: u64,
}

impl<'a> Generator<'a> {
    /// To ports of the loopback.
    pub(crate) fn new(socket: &'a UdpSocket, ports: &[u16]) -> Self {
        let stream = |(ssrc, port): (u32, &u16)| Stream {
            to: SockaddrIn::from(SocketAddrV4::new([127, 0, 0, 1].into(), *port)),
            ssrc,
            sequence: 0,
        };
        Self {
            socket,
            streams: (1..).zip(ports).map(stream).collect(),
            epoch: Instant::now(),
            payload: speech(),
            packets: vec![[0; HEADER + PAYLOAD]; BATCH],
            headers: MultiHeaders::preallocate(BATCH, None),
            sent: 0,
        }
    }

    /// Sends for that long.
    pub(crate) fn run(&mut self, length: Duration) -> io::Result<Sent> {
        let (began, count) = (Instant::now(), self.streams.len() as u64);
        let mut sent = Sent::default();
        let mut next = self.due();
        while began.elapsed() < length {
            let due = self.due();
            // More than a tenth of a cycle behind: this is the most that can be sent.
            if due - next > count / 10 + BATCH as u64 {
                sent.late += due - next;
                next = due;
            }
            if due == next {
                std::thread::sleep(PAUSE);
                continue;
            }
            let now = usize::try_from(due - next).unwrap_or(BATCH).min(BATCH);
            sent.packets += self.send(next, now)?;
            next += now as u64;
        }
        sent.took = began.elapsed();
        self.sent += sent.packets;
        Ok(sent)
    }

    /// Packets that are due since the epoch: stream n of a cycle leaves n/streams of 20 ms after its begin.
    fn due(&self) -> u64 {
        let due = self.epoch.elapsed().as_nanos() * self.streams.len() as u128 / PTIME.as_nanos();
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    fn send(&mut self, first: u64, count: usize) -> io::Result<u64> {
        let streams = self.streams.len() as u64;
        let mut addresses = [None; BATCH];
        for (slot, packet) in self.packets.iter_mut().take(count).enumerate() {
            let number = first + slot as u64;
            let index = usize::try_from(number % streams).unwrap_or(0);
            let timestamp = u32::try_from(number / streams * PAYLOAD as u64 % (1 << 32)).unwrap_or(0);
            let stream = &mut self.streams[index];
            write(packet, stream, timestamp, &self.payload);
            addresses[slot] = Some(stream.to);
        }
        let slices: Vec<_> = self.packets.iter().take(count).map(|p| [IoSlice::new(p)]).collect();
        let (fd, to) = (self.socket.as_raw_fd(), &addresses[..count]);
        // One that the kernel did not take leaves a hole in the numbers, and shows as lost.
        let results = sendmmsg(fd, &mut self.headers, &slices, to, [], MsgFlags::empty())?;
        Ok(results.count() as u64)
    }
}

/// RFC 3550 section 5.1, payload type 0.
fn write(packet: &mut [u8], stream: &mut Stream, timestamp: u32, payload: &[u8]) {
    packet[0] = 0x80;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&stream.sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&stream.ssrc.to_be_bytes());
    packet[HEADER..].copy_from_slice(payload);
    stream.sequence = stream.sequence.wrapping_add(1);
}

/// Anything but silence.
fn speech() -> [u8; PAYLOAD] {
    let mut payload = [0; PAYLOAD];
    payload.iter_mut().zip((0_u8..=255).cycle()).for_each(|(octet, n)| *octet = n.wrapping_mul(37));
    payload
}

/// A socket to send from, and the one beside it where reports come to, which nobody reads.
pub(crate) fn sockets() -> io::Result<(UdpSocket, UdpSocket)> {
    loop {
        let rtp = UdpSocket::bind("127.0.0.1:0")?;
        let SocketAddr::V4(local) = rtp.local_addr()? else { continue };
        if local.port() % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", local.port() + 1))
        {
            let socket = socket2::SockRef::from(&rtp);
            socket.set_send_buffer_size(4 << 20)?;
            return Ok((rtp, rtcp));
        }
    }
}
