//! Sends datagrams by many UDP sockets with one system call (io_uring).
//!
//! ```text
//!  (socket, address, octets) × n ──► a request each, octets and address copied ──► one io_uring_enter ──► n completions
//! ```
//!
//! A socket for each datagram would otherwise want a system call for each. Every request is tried at once and never
//! waits (`MSG_DONTWAIT`): what the kernel does not take now is lost, as with `sendto`. Datagrams go out in the
//! order in which they are given.

use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};

use crate::mapping::Mapping;
use crate::message::{NAME, name};
use crate::prepared::{OneThread, Prepared};

/// Requests of one system call: more wait for the next, which is at once.
const REQUESTS: u32 = 256;
/// Octets of a datagram: what is received at most, and a tag and an index of SRTP behind it.
const LONGEST: usize = 2_048 + 32;
/// An address, and the datagram behind it.
const SLOT: usize = (ADDRESS + LONGEST).next_multiple_of(64);
/// Room for an address, a multiple of eight.
const ADDRESS: usize = NAME.next_multiple_of(8);
/// How often the kernel is asked for completions that are not there yet. They are there after the first time; a signal may
/// interrupt one.
const ASKED_MAX: usize = 64;

/// What became of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Those that the kernel took.
    pub sent: u64,
    /// Those that it did not: a buffer was full, it knows no way, or they were too long.
    pub unsent: u64,
    /// System calls.
    pub calls: u64,
}

/// See the module. It belongs to the thread that began with it.
pub struct Sending {
    // Before the memory that the kernel reads: fields are dropped in this order.
    pub(crate) ring: IoUring,
    slots: Mapping,
    /// Requests that the kernel has and has not completed.
    in_flight: usize,
    /// The kernel refused: what it has then is not known, and it is asked no more.
    is_broken: bool,
    one_thread: OneThread,
}

impl Sending {
    /// # Errors
    /// When the kernel is older than 6.1, does not allow it (`kernel.io_uring_disabled`, a seccomp filter), or has no
    /// memory.
    #[allow(clippy::new_ret_no_self, reason = "what is made is prepared for a thread")]
    pub fn new() -> io::Result<Prepared<Self>> {
        let ring = IoUring::builder()
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_r_disabled()
            .build(REQUESTS)?;
        let slots = Mapping::new(SLOT * usize::try_from(REQUESTS).unwrap_or_default())?;
        Ok(Prepared::new(Self { ring, slots, in_flight: 0, is_broken: false, one_thread: PhantomData }))
    }

    /// Sends datagrams, each by its socket, and returns once all are on their way or lost.
    ///
    /// # Errors
    /// When the kernel refuses to be asked, now or before: those that are in neither count are lost, and another way is to
    /// be taken from now on.
    pub fn send<'a>(
        &mut self,
        datagrams: impl IntoIterator<Item = (&'a UdpSocket, SocketAddr, &'a [u8])>,
        passed: &mut Passed,
    ) -> io::Result<()> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let sent = self.try_send(datagrams, passed);
        self.is_broken = sent.is_err();
        sent
    }

    fn try_send<'a>(
        &mut self,
        datagrams: impl IntoIterator<Item = (&'a UdpSocket, SocketAddr, &'a [u8])>,
        passed: &mut Passed,
    ) -> io::Result<()> {
        for (socket, to, octets) in datagrams {
            let Some(request) = self.request(socket, to, octets) else {
                passed.unsent += 1;
                continue;
            };
            // SAFETY: the address and the octets lie in a slot, which lives as long as the ring and is not written to again
            // until all completions are there. The socket is open until the request is submitted, which it is before this
            // returns, or never.
            if unsafe { self.ring.submission().push(&request) }.is_err() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.in_flight += 1;
            if self.in_flight >= usize::try_from(REQUESTS).unwrap_or_default() {
                self.finish(passed)?;
            }
        }
        self.finish(passed)
    }

    /// A request for a datagram in the next slot; none where it is too long.
    fn request(&self, socket: &UdpSocket, to: SocketAddr, octets: &[u8]) -> Option<squeue::Entry> {
        let start = self.in_flight * SLOT;
        if octets.len() > LONGEST {
            return None;
        }
        let (place, data) =
            (self.slots.piece(start, NAME)?, self.slots.piece(start + ADDRESS, octets.len())?);
        let (address, length) = name(to);
        // SAFETY: the piece is inside of the mapping, apart from `address`, and no request that the kernel has is in this
        // slot: as many are in flight as there are slots before it.
        unsafe { std::ptr::copy_nonoverlapping(address.as_ptr(), place.as_ptr(), address.len()) };
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(octets.as_ptr(), data.as_ptr(), octets.len()) };
        let fd = types::Fd(socket.as_raw_fd());
        let request = opcode::Send::new(fd, data.as_ptr(), u32::try_from(octets.len()).ok()?)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(place.as_ptr().cast())
            .dest_addr_len(length);
        Some(request.build())
    }

    /// Hands requests to the kernel and takes all completions.
    fn finish(&mut self, passed: &mut Passed) -> io::Result<()> {
        for _ in 0..ASKED_MAX {
            if self.in_flight == 0 {
                return Ok(());
            }
            passed.calls += 1;
            match self.ring.submit_and_wait(self.in_flight) {
                Err(e) if !matches!(e.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => return Err(e),
                _ => {}
            }
            for completion in self.ring.completion() {
                self.in_flight = self.in_flight.saturating_sub(1);
                let is_sent = completion.result() >= 0;
                passed.sent += u64::from(is_sent);
                passed.unsent += u64::from(!is_sent);
            }
        }
        if self.in_flight == 0 { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            // The kernel lets go of the slots before they are given back.
            let _ = self.ring.submitter().register_sync_cancel(None, types::CancelBuilder::any());
        }
    }
}
