//! Both sides of all calls: sends 20 ms of G.711 to each port fifty times a second, evenly spread, and takes what comes
//! back.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use media::srtp::Srtp;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};

use crate::setup::{Mode, keys};

/// Packets in one system call.
const BATCH: usize = 64;
const PTIME: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_micros(200);
/// Header, payload, and room for a tag.
const PACKET: usize = 12 + 160;

struct Stream {
    to: SockaddrIn,
    side: usize,
    sequence: u16,
    /// What its packets are protected by.
    keys: Option<Srtp>,
}

/// See the module.
pub(crate) struct Traffic {
    sides: [UdpSocket; 2],
    streams: Vec<Stream>,
    mode: Mode,
    // One for each way: what was sent leaves addresses of its own in them, which receiving would write to.
    out: MultiHeaders<SockaddrIn>,
    back: MultiHeaders<SockaddrIn>,
    epoch: Instant,
    next: u64,
    pub(crate) sent: u64,
    /// Left out because this thread could not send in time.
    pub(crate) late: u64,
    pub(crate) came: u64,
}

impl Traffic {
    pub(crate) fn new(mode: Mode) -> io::Result<Self> {
        let side = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
            setsockopt(&socket, sockopt::SndBuf, &(4 << 20))?;
            io::Result::Ok(socket)
        };
        Ok(Self {
            sides: [side()?, side()?],
            streams: Vec::new(),
            mode,
            out: MultiHeaders::preallocate(BATCH, None),
            back: MultiHeaders::preallocate(BATCH, None),
            epoch: Instant::now(),
            next: 0,
            sent: 0,
            late: 0,
            came: 0,
        })
    }

    /// Where a side receives.
    pub(crate) fn address(&self, side: usize) -> io::Result<SocketAddr> {
        self.sides[side].local_addr()
    }

    /// A side sends to this port too.
    pub(crate) fn add(&mut self, side: usize, to: SocketAddr) {
        let SocketAddr::V4(to) = to else { return };
        let keys = (matches!(self.mode, Mode::OpenAndRecord(_)) && side == 0)
            .then(|| Srtp::new(&keys(), &keys()))
            .flatten();
        self.streams.push(Stream { to: to.into(), side, sequence: 0, keys });
    }

    /// Sends for that long.
    pub(crate) fn run(&mut self, length: Duration) -> io::Result<()> {
        let began = Instant::now();
        self.next = self.due();
        while began.elapsed() < length {
            let due = self.due();
            if due - self.next > self.streams.len() as u64 / 10 + BATCH as u64 {
                self.late += due - self.next;
                self.next = due;
            }
            if due == self.next {
                self.take()?;
                std::thread::sleep(PAUSE);
                continue;
            }
            let count = usize::try_from(due - self.next).unwrap_or(BATCH).min(BATCH);
            self.send(count)?;
            self.take()?;
        }
        Ok(())
    }

    /// Takes what is still on its way.
    pub(crate) fn drain(&mut self, length: Duration) -> io::Result<()> {
        let began = Instant::now();
        while began.elapsed() < length {
            self.take()?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn due(&self) -> u64 {
        let due = self.epoch.elapsed().as_nanos() * self.streams.len() as u128 / PTIME.as_nanos();
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// Streams of both sides alternate: each call of `sendmmsg` is of one.
    fn send(&mut self, count: usize) -> io::Result<()> {
        let streams = self.streams.len() as u64;
        for side in 0..2 {
            let (mut packets, mut addresses) = (Vec::with_capacity(count), Vec::with_capacity(count));
            for number in self.next..self.next + count as u64 {
                let index = usize::try_from(number % streams).unwrap_or(0);
                let stream = &mut self.streams[index];
                if stream.side == side {
                    packets.push(packet(stream, index, number / streams));
                    addresses.push(Some(stream.to));
                }
            }
            let slices: Vec<_> = packets.iter().map(|p| [IoSlice::new(p)]).collect();
            if !slices.is_empty() {
                let fd = self.sides[side].as_raw_fd();
                let sent = sendmmsg(fd, &mut self.out, &slices, &addresses, [], MsgFlags::empty())?;
                self.sent += sent.count() as u64;
            }
        }
        self.next += count as u64;
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let mut buffers = [[0_u8; 512]; BATCH];
        for side in &self.sides {
            loop {
                let mut slices = buffers.each_mut().map(|b| [IoSliceMut::new(b)]);
                let flags = MsgFlags::MSG_DONTWAIT;
                match recvmmsg(side.as_raw_fd(), &mut self.back, slices.iter_mut(), flags, None) {
                    Ok(got) => {
                        let count = got.count();
                        self.came += count as u64;
                        if count < BATCH {
                            break;
                        }
                    }
                    Err(nix::errno::Errno::EAGAIN) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(())
    }
}

/// RFC 3550 section 5.1, payload type 0, anything but silence.
fn packet(stream: &mut Stream, index: usize, cycle: u64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(PACKET + 16);
    packet.extend_from_slice(&[0x80, 0]);
    packet.extend_from_slice(&stream.sequence.to_be_bytes());
    packet.extend_from_slice(&u32::try_from(cycle * 160 % (1 << 32)).unwrap_or(0).to_be_bytes());
    packet.extend_from_slice(&u32::try_from(index + 1).unwrap_or(0).to_be_bytes());
    packet.extend((0..160_u8).map(|n| n.wrapping_mul(37)));
    stream.sequence = stream.sequence.wrapping_add(1);
    if let Some(keys) = &mut stream.keys {
        keys.seal_rtp(&mut packet);
    }
    packet
}
