//! IP packets for a range of UDP ports, in a ring that the kernel fills (`AF_PACKET`, `TPACKET_V2`).
//!
//! ```text
//!  frame 0        frame 1        …            each 2,048 octets, the kernel's or ours by its first word
//!  │status│head│address│ IP packet │
//! ```
//!
//! A frame is seen as soon as the kernel has filled it: whoever reads until the first that is the kernel's has all that
//! came before. (Blocks of version 3 hold more, and show nothing until they are full or a timer runs out.)

use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::fetch::fetch;
use crate::filter;
use crate::ip::{self, Checksums, Refused};
use crate::mapping::Mapping;
use crate::multishot::Taken;

/// Octets of a frame. With head and address some 1,960 of a packet fit: an Ethernet frame holds 1,500.
const FRAME: usize = 2_048;
/// Octets that the kernel takes memory by. A multiple of a page and of a frame.
const BLOCK: usize = 1 << 20;
const STATUS_KERNEL: u32 = 0;
const STATUS_USER: u32 = 1;
const STATUS_CHECKSUM_NOT_READY: u32 = 1 << 3;
const STATUS_CHECKSUM_VALID: u32 = 1 << 7;

/// The ports whose datagrams are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The address of this machine that they are sent to; 0.0.0.0 or ::, any of that family.
    pub address: IpAddr,
    /// The first port.
    pub min: u16,
    /// The last port.
    pub max: u16,
    /// Of so many rings, among which pairs of ports are dealt out in turn: 1 or more.
    pub parts: u16,
    /// Which of them this is, from 0.
    pub part: u16,
}

/// A datagram of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// When the kernel received it, since 1970.
    pub at: Duration,
    /// Who sent it.
    pub from: SocketAddr,
    /// Whom it was sent to.
    pub to: SocketAddr,
    /// Empty where it was longer than a frame holds.
    pub bytes: &'a [u8],
}

/// What [`PacketRing::take_foretold`] hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foretold<'a> {
    /// A datagram to this port comes soon, most likely: who would wait for memory then may have it fetched.
    Soon(u16),
    /// It is here.
    Now(Sent<'a>),
}

/// How many packets before its turn the port of one is told.
const FORETOLD: usize = 8;
/// Octets of a frame that are fetched before: its head, and a packet with 20 ms of G.711.
const FETCHED: usize = 320;

/// What came and was not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that found the ring full.
    pub lost: u64,
    /// Fragments of datagrams, which are not put together here; also of those to other ports.
    pub fragments: u64,
    /// Packets with lengths that cannot be, or with a wrong checksum.
    pub damaged: u64,
}

/// See the module.
#[derive(Debug)]
pub struct PacketRing {
    frames: Mapping,
    count: usize,
    next: usize,
    /// Of how many packets from the next one on it was told that they come.
    foretold: usize,
    counts: Counts,
    socket: OwnedFd,
}

impl PacketRing {
    /// With so many octets of memory for packets that were not taken yet.
    ///
    /// # Errors
    /// When the process may not (`CAP_NET_RAW`), or there is no memory.
    pub fn new(ports: &Ports, octets: usize) -> io::Result<Self> {
        // SAFETY: it touches no memory of ours.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now, and is nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
        set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let mut program = filter::program(ports);
        let length = u16::try_from(program.len()).unwrap_or(u16::MAX);
        let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
        set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        let blocks = octets.div_ceil(BLOCK).max(1);
        let count = blocks * (BLOCK / FRAME);
        let number = |n: usize| libc::c_uint::try_from(n).map_err(|_| io::ErrorKind::InvalidInput);
        let request = libc::tpacket_req {
            tp_block_size: number(BLOCK)?,
            tp_block_nr: number(blocks)?,
            tp_frame_size: number(FRAME)?,
            tp_frame_nr: number(count)?,
        };
        set(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let frames = Mapping::of(socket.as_fd(), blocks * BLOCK)?;
        let protocol = if ports.address.is_ipv4() { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
        // SAFETY: an address of zeros is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        // By one protocol only what comes is seen, and nothing that goes out.
        address.sll_protocol = u16::try_from(protocol).unwrap_or_default().to_be();
        let size = u32::try_from(size_of_val(&address)).unwrap_or_default();
        // SAFETY: an address with its size.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { frames, count, next: 0, foretold: 0, counts: Counts::default(), socket })
    }

    /// Hands out the datagrams of at most as many packets as the ring holds, oldest first.
    pub fn take(&mut self, mut each: impl FnMut(Sent<'_>)) -> Taken {
        self.take_foretold(|coming| {
            if let Foretold::Now(sent) = coming {
                each(sent);
            }
        })
    }

    /// The same, where it is told of most datagrams that they come a little before.
    pub fn take_foretold(&mut self, mut each: impl FnMut(Foretold<'_>)) -> Taken {
        let mut count = 0;
        for _ in 0..self.count {
            self.foretell(&mut each);
            let at = self.next * FRAME;
            let Some(status) = self.status(at) else { break };
            let state = status.load(Ordering::Acquire);
            if state & STATUS_USER == 0 {
                return Taken { count, is_all: true };
            }
            let refused = match self.sent(at, state) {
                Some(Ok(sent)) => {
                    count += 1;
                    each(Foretold::Now(sent));
                    None
                }
                Some(Err(why)) => Some(why),
                None => Some(Refused::Malformed),
            };
            status.store(STATUS_KERNEL, Ordering::Release);
            match refused {
                Some(Refused::Fragment) => self.counts.fragments += 1,
                Some(Refused::Malformed | Refused::Checksum) => self.counts.damaged += 1,
                None => {}
            }
            self.next = (self.next + 1) % self.count;
            self.foretold = self.foretold.saturating_sub(1);
        }
        Taken { count, is_all: false }
    }

    /// Tells of the packets that are there after the next one, each once, and has fetched those behind them.
    fn foretell(&mut self, each: &mut impl FnMut(Foretold<'_>)) {
        while self.foretold < FORETOLD.min(self.count) {
            let at = (self.next + self.foretold) % self.count * FRAME;
            let Some(state) = self.status(at).map(|status| status.load(Ordering::Acquire)) else { return };
            if state & STATUS_USER == 0 {
                return;
            }
            let behind = (self.next + self.foretold + FORETOLD) % self.count * FRAME;
            if let Some(frame) = self.frames.piece(behind, FETCHED) {
                fetch(frame.as_ptr(), FETCHED);
            }
            if let Some(port) = self.packet(at).and_then(|(packet, _)| ip::port(packet)) {
                each(Foretold::Soon(port));
            }
            self.foretold += 1;
        }
    }

    /// What came and was not handed out, until now.
    pub fn counts(&mut self) -> Counts {
        let mut lost = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut size = libc::socklen_t::try_from(size_of_val(&lost)).unwrap_or_default();
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        let into = (&raw mut lost).cast();
        // SAFETY: room for what is asked, with its size.
        if unsafe { libc::getsockopt(self.socket.as_raw_fd(), level, option, into, &raw mut size) } == 0 {
            // The kernel begins anew with each look.
            self.counts.lost += u64::from(lost.tp_drops);
        }
        self.counts
    }

    /// The word that says whose a frame is.
    fn status(&self, at: usize) -> Option<&AtomicU32> {
        let word = self.frames.piece(at + offset_of!(libc::tpacket2_hdr, tp_status), size_of::<u32>())?;
        // SAFETY: it is inside of the mapping, which lives as long as `self`, aligned as frames are, and both sides access
        // it atomically.
        Some(unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) })
    }

    /// The packet in a frame that is ours, and what the kernel says of it.
    fn packet(&self, at: usize) -> Option<(&[u8], libc::tpacket2_hdr)> {
        let frame = self.frames.piece(at, FRAME)?.as_ptr();
        // SAFETY: the head is inside of the frame and aligned; it is ours, so the kernel does not write to it.
        let head = unsafe { frame.cast::<libc::tpacket2_hdr>().read() };
        let (start, length) = (usize::from(head.tp_net), usize::try_from(head.tp_snaplen).ok()?);
        let packet = self.frames.piece(at + start, length).filter(|_| start + length <= FRAME)?;
        // SAFETY: it is inside of the frame, which is ours until its status is changed, after the last use of this.
        Some((unsafe { std::slice::from_raw_parts(packet.as_ptr(), length) }, head))
    }

    /// What is in a frame that is ours.
    fn sent(&self, at: usize, state: u32) -> Option<Result<Sent<'_>, Refused>> {
        let (packet, head) = self.packet(at)?;
        let is_checked = state & (STATUS_CHECKSUM_NOT_READY | STATUS_CHECKSUM_VALID) != 0;
        let checksums = if is_checked { Checksums::Done } else { Checksums::ToCheck };
        let time = Duration::new(u64::from(head.tp_sec), head.tp_nsec.min(999_999_999));
        let datagram = ip::datagram(packet, usize::try_from(head.tp_len).ok()?, checksums);
        Some(datagram.map(|(from, to, bytes)| Sent { at: time, from, to, bytes }))
    }
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the value is there, with its size, and the kernel keeps nothing of it.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const *value).cast(), size) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
