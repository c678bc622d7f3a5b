//! Datagrams of many UDP sockets by io_uring: each is armed once ("multishot"), and what comes is put into buffers that
//! are lent to the kernel.
//!
//! ```text
//!  watch ──► ARMED ── last completion ──► IDLE ──► armed again at once (no buffers), or at the next taking
//!              │  flood, forget                        (it brought its share, or the kernel gave it up)
//!              ▼
//!           STOPPING ── last completion ──► IDLE, or gone
//! ```
//!
//! Work of the kernel is done within [`Multishot::take`] and [`Multishot::wait`] alone (`DEFER_TASKRUN`): packets that
//! arrive wake nobody but who waits. What there is no buffer for waits in its socket.

use std::io;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::mapping::Mapping;
use crate::message::{self, BUFFER, CONTROL, NAME, Received};
use crate::prepared::{OneThread, Prepared};

/// Requests that are handed to the kernel at a time.
const REQUESTS: u32 = 1_024;
/// Octets of a buffer, as the kernel counts.
#[allow(clippy::cast_possible_truncation, reason = "some two thousand")]
const LENGTH: u32 = BUFFER as u32;
/// The one group of buffers.
const GROUP: u16 = 0;
/// Datagrams that one socket may bring in a taking: with 5 ms, over 12,000 packets a second. What floods faster waits in
/// its socket until the next, and is lost there, so that it cannot starve the others.
const SHARE: u32 = 64;
/// Datagrams in a taking, so that no flood of many sockets keeps the caller from what else he has to do.
const TAKEN_MAX: u64 = 65_536;
/// How often the kernel is asked in a taking, beside once for each ten sockets.
const ROUNDS: usize = 16;
/// The user data of a request to cancel another.
const CANCEL: u64 = u64::MAX;
/// The user data of the request that watches whoever ends a wait.
const WAKE: u64 = u64::MAX - 1;

/// What a taking came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Datagrams handed out.
    pub count: u64,
    /// Nothing that had come is left.
    pub is_all: bool,
}

/// An entry of the ring of buffers (`io_uring_buf`); the last two octets of the first one are the ring's tail.
#[repr(C)]
struct Lent {
    address: u64,
    length: u32,
    id: u16,
    tail: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The kernel puts what comes into buffers.
    Armed,
    /// It was told to stop, and has not said yet that it has.
    Stopping,
    /// Nothing is asked of it.
    Idle,
}

#[derive(Debug)]
struct Watched {
    key: u64,
    /// What it may bring in a taking.
    share: u32,
    state: State,
    /// Nothing is handed out any more, and it goes once the kernel has let go of it.
    is_forgotten: bool,
    /// Datagrams in this taking.
    brought: u32,
    taking: u64,
    socket: Arc<UdpSocket>,
}

/// See the module. It belongs to the thread that began with it.
pub struct Multishot {
    // Before the memory that the kernel writes to: fields are dropped in this order.
    pub(crate) ring: IoUring,
    lent: Mapping,
    buffers: Mapping,
    /// What the requests ask for. The kernel reads it when it takes a request.
    header: Box<libc::msghdr>,
    /// How many buffers there are, a power of two.
    count: u16,
    tail: u16,
    watched: Vec<Option<Watched>>,
    free: Vec<usize>,
    /// Where a descriptor is among them, plus one.
    by_fd: Vec<usize>,
    /// Those to arm at the next taking.
    idle: Vec<usize>,
    /// Those that the kernel is to be told again to stop, and whom nobody hears any more.
    unstopped: Vec<usize>,
    arming: Vec<usize>,
    takings: u64,
    /// System calls.
    calls: u64,
    /// What ends a wait early, and whether the kernel looks at it.
    wake: Option<OwnedFd>,
    is_waking: bool,
    one_thread: OneThread,
}

impl Multishot {
    /// With so many buffers, a power of two up to 32,768: what may come between two takings without waiting in sockets.
    ///
    /// # Errors
    /// When the kernel is older than 6.1, does not allow it (`kernel.io_uring_disabled`, a seccomp filter), or has no
    /// memory.
    #[allow(clippy::new_ret_no_self, reason = "what is made is prepared for a thread")]
    pub fn new(count: u16) -> io::Result<Prepared<Self>> {
        if !count.is_power_of_two() || count > 1 << 15 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ring = IoUring::builder()
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_r_disabled()
            .setup_cqsize(u32::from(count) * 2)
            .build(REQUESTS)?;
        let lent = Mapping::new(usize::from(count) * size_of::<Lent>())?;
        let buffers = Mapping::new(usize::from(count) * BUFFER)?;
        // SAFETY: a header of zeros is a valid one: no pointers, no lengths.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_namelen = u32::try_from(NAME).unwrap_or_default();
        header.msg_controllen = CONTROL;
        // SAFETY: `lent` has room for as many entries, is aligned to a page, and is given back after the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(lent.start() as u64, count, GROUP, 0) }?;
        let mut new = Self {
            ring,
            lent,
            buffers,
            header,
            count,
            tail: 0,
            watched: Vec::new(),
            free: Vec::new(),
            by_fd: Vec::new(),
            idle: Vec::new(),
            unstopped: Vec::new(),
            arming: Vec::new(),
            takings: 0,
            calls: 0,
            wake: None,
            is_waking: false,
            one_thread: PhantomData,
        };
        (0..count).for_each(|id| new.lend(id));
        new.publish();
        Ok(Prepared::new(new))
    }

    /// From now on what comes to this socket, and what waits there, is handed out with this key; also where it was watched
    /// with another.
    ///
    /// # Errors
    /// When the kernel takes no more requests.
    pub fn watch(&mut self, key: u64, socket: &Arc<UdpSocket>) -> io::Result<()> {
        self.watch_shared(key, socket, 1)
    }

    /// The same for a socket of so many streams: it may bring as many times what one may.
    ///
    /// # Errors
    /// When the kernel takes no more requests.
    pub fn watch_shared(&mut self, key: u64, socket: &Arc<UdpSocket>, streams: u32) -> io::Result<()> {
        let share = SHARE.saturating_mul(streams);
        let fd = descriptor(socket.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
        if let Some(watched) = self.place(fd).and_then(|at| self.watched.get_mut(at)?.as_mut()) {
            (watched.key, watched.share) = (key, share);
            return Ok(());
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.watched.push(None);
            self.watched.len() - 1
        });
        if self.by_fd.len() <= fd {
            self.by_fd.resize(fd + 1, 0);
        }
        let socket = Arc::clone(socket);
        let (state, is_forgotten) = (State::Idle, false);
        let new = Watched { key, share, state, is_forgotten, brought: 0, taking: 0, socket };
        if let (Some(place), Some(by_fd)) = (self.watched.get_mut(at), self.by_fd.get_mut(fd)) {
            (*place, *by_fd) = (Some(new), at + 1);
        }
        self.arm(at).inspect_err(|_| {
            self.leave(at, fd);
        })
    }

    /// Nothing that comes to this socket, or came and was not taken, is handed out any more. Its port is free once the
    /// kernel has let go of it, which it has after the next taking.
    pub fn forget(&mut self, socket: &UdpSocket) {
        let Some(fd) = descriptor(socket.as_raw_fd()) else { return };
        let Some(at) = self.place(fd) else { return };
        let Some(watched) = self.watched.get_mut(at).and_then(Option::as_mut) else { return };
        watched.is_forgotten = true;
        let state = watched.state;
        if let Some(by_fd) = self.by_fd.get_mut(fd) {
            *by_fd = 0;
        }
        match state {
            State::Armed => self.stop(at),
            State::Stopping => {}
            State::Idle => {
                self.idle.retain(|idle| *idle != at);
                self.leave(at, fd);
            }
        }
    }

    /// From now on a write to this eventfd ends a [`Self::wait`], the one that is on or else the next. It need not be read.
    ///
    /// # Errors
    /// When there is no descriptor for another one of it.
    pub fn wake_by(&mut self, wake: BorrowedFd<'_>) -> io::Result<()> {
        self.wake = Some(wake.try_clone_to_owned()?);
        Ok(())
    }

    /// Sleeps until something has come or somebody wakes it, and no longer than that; it may return earlier.
    ///
    /// # Errors
    /// When the kernel refuses to be asked.
    pub fn wait(&mut self, longest: Duration) -> io::Result<()> {
        self.watch_wake()?;
        // Those that brought their share have more, and tell of it once they are armed.
        if !(self.idle.is_empty() && self.unstopped.is_empty()) {
            return Ok(());
        }
        let longest = types::Timespec::from(longest);
        let waited = self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&longest));
        match waited {
            Err(e) if !matches!(e.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Err(e),
            _ => Ok(()),
        }
    }

    /// System calls since it was made, but those that only waited.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    fn watch_wake(&mut self) -> io::Result<()> {
        let Some(wake) = self.wake.as_ref().filter(|_| !self.is_waking) else { return Ok(()) };
        let poll = opcode::PollAdd::new(types::Fd(wake.as_raw_fd()), libc::POLLIN.cast_unsigned().into());
        let request = poll.multi(true).build().user_data(WAKE);
        self.request(&request)?;
        self.is_waking = true;
        Ok(())
    }

    /// Hands out what has come until now, each with the key of its socket.
    ///
    /// # Errors
    /// When the kernel refuses to be asked; what came meanwhile was handed out.
    pub fn take(&mut self, mut each: impl FnMut(u64, Received<'_>)) -> io::Result<Taken> {
        self.takings += 1;
        let mut count = 0;
        for at in std::mem::take(&mut self.unstopped) {
            self.stop(at);
        }
        std::mem::swap(&mut self.idle, &mut self.arming);
        while let Some(at) = self.arming.pop() {
            self.arm_or_wait(at);
        }
        // The kernel works for some twenty sockets at a time: so often for all that had something when this began. What
        // comes meanwhile is not run after.
        let rounds = ROUNDS + self.watched.len() / 10;
        for _ in 0..rounds {
            if count >= TAKEN_MAX {
                return Ok(Taken { count, is_all: false });
            }
            let (has_requests, has_work) = {
                let mut requests = self.ring.submission();
                requests.sync();
                (!requests.is_empty(), requests.taskrun() || requests.cq_overflow())
            };
            if has_requests || has_work {
                self.submit()?;
            }
            let (seen, handed) = self.complete(&mut each);
            count += handed;
            if seen == 0 && !has_requests && !has_work {
                break;
            }
        }
        Ok(Taken { count, is_all: self.idle.is_empty() })
    }

    /// Hands requests to the kernel, and has it do its work.
    fn submit(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.ring.submit() {
            // Interrupted, or completions must be taken first: it is asked again.
            Err(e) if !matches!(e.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => Err(e),
            _ => Ok(()),
        }
    }

    /// Goes through the completions that are there; how many there were, and how many datagrams were handed out.
    fn complete(&mut self, each: &mut impl FnMut(u64, Received<'_>)) -> (usize, u64) {
        let (mut seen, mut handed) = (0, 0);
        // As many as there are buffers: then these are lent again.
        while seen < usize::from(self.count) {
            let mut completions = self.ring.completion();
            completions.sync();
            let Some(completion) = completions.next() else { break };
            drop(completions);
            seen += 1;
            handed += u64::from(self.one(&completion, each));
        }
        self.publish();
        (seen, handed)
    }

    /// One completion; whether a datagram was handed out.
    fn one(&mut self, completion: &cqueue::Entry, each: &mut impl FnMut(u64, Received<'_>)) -> bool {
        let (result, flags) = (completion.result(), completion.flags());
        let buffer = cqueue::buffer_select(flags).filter(|id| *id < self.count);
        let is_of_socket = !matches!(completion.user_data(), CANCEL | WAKE);
        let at = usize::try_from(completion.user_data()).ok().filter(|_| is_of_socket);
        if completion.user_data() == WAKE {
            self.is_waking = cqueue::more(flags);
        }
        let mut is_handed = false;
        let mut is_flood = false;
        if let Some(watched) = at.and_then(|at| self.watched.get_mut(at)?.as_mut())
            && let Some(id) = buffer
            && !watched.is_forgotten
        {
            if watched.taking != self.takings {
                (watched.taking, watched.brought) = (self.takings, 0);
            }
            watched.brought += 1;
            is_flood = watched.brought >= watched.share && watched.state == State::Armed;
            let key = watched.key;
            if let Some(received) = usize::try_from(result).ok().and_then(|n| self.message(id, n)) {
                each(key, received);
                is_handed = true;
            }
        }
        if let Some(id) = buffer {
            self.lend(id);
        }
        match at {
            Some(at) if !cqueue::more(flags) => self.ended(at, result),
            Some(at) if is_flood => self.stop(at),
            _ => {}
        }
        is_handed
    }

    /// What the kernel says is in a buffer that it has handed over.
    fn message(&self, id: u16, length: usize) -> Option<Received<'_>> {
        let length = length.min(BUFFER);
        let start = self.buffers.piece(usize::from(id) * BUFFER, length)?;
        // SAFETY: the kernel has handed this buffer over by a completion and does not write to it until it is lent again,
        // which takes `&mut self`, and so comes after the last use of this reference. The pages are initialized.
        message::read(unsafe { std::slice::from_raw_parts(start.as_ptr(), length) })
    }

    /// The kernel has done with a request.
    fn ended(&mut self, at: usize, result: i32) {
        let Some(watched) = self.watched.get_mut(at).and_then(Option::as_mut) else { return };
        let was = std::mem::replace(&mut watched.state, State::Idle);
        let fd = descriptor(watched.socket.as_raw_fd());
        let has_brought_all = watched.taking == self.takings && watched.brought >= watched.share;
        if watched.is_forgotten {
            self.leave(at, fd.unwrap_or(usize::MAX));
        } else if was == State::Armed && !has_brought_all && (result >= 0 || result == -libc::ENOBUFS) {
            // There was no buffer, no room for the completion, or the datagram was empty: it goes on.
            self.publish();
            self.arm_or_wait(at);
        } else {
            self.idle.push(at);
        }
    }

    /// Arms a socket; at the next taking where the kernel takes no request now.
    fn arm_or_wait(&mut self, at: usize) {
        if self.arm(at).is_err()
            && let Some(watched) = self.watched.get_mut(at).and_then(Option::as_mut)
        {
            watched.state = State::Idle;
            self.idle.push(at);
        }
    }

    fn arm(&mut self, at: usize) -> io::Result<()> {
        let Some(watched) = self.watched.get_mut(at).and_then(Option::as_mut) else { return Ok(()) };
        let fd = types::Fd(watched.socket.as_raw_fd());
        watched.state = State::Armed;
        let request = opcode::RecvMsgMulti::new(fd, &raw const *self.header, GROUP).build();
        self.request(&request.user_data(at as u64))
    }

    fn stop(&mut self, at: usize) {
        let Some(watched) = self.watched.get_mut(at).and_then(Option::as_mut) else { return };
        watched.state = State::Stopping;
        let request = opcode::AsyncCancel::new(at as u64).build().user_data(CANCEL);
        if self.request(&request).is_err()
            && let Some(watched) = self.watched.get_mut(at).and_then(Option::as_mut)
        {
            watched.state = State::Armed;
            if watched.is_forgotten {
                self.unstopped.push(at);
            }
        }
    }

    fn request(&mut self, request: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the socket of a request stays open while it is armed (`Watched` goes with its last completion), as `wake`
        // does, and the header and the buffers that it names live as long as the ring.
        if unsafe { self.ring.submission().push(request) }.is_ok() {
            return Ok(());
        }
        self.submit()?;
        // SAFETY: as above.
        unsafe { self.ring.submission().push(request) }.map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    /// Lends a buffer to the kernel, with the next [`Self::publish`].
    fn lend(&mut self, id: u16) {
        let place = usize::from(self.tail & (self.count - 1)) * size_of::<Lent>();
        let (Some(entry), Some(buffer)) =
            (self.lent.piece(place, size_of::<Lent>()), self.buffers.piece(usize::from(id) * BUFFER, BUFFER))
        else {
            return;
        };
        let entry = entry.as_ptr().cast::<Lent>();
        // SAFETY: the entry is inside of the ring and aligned. The kernel does not read it before the tail goes beyond it,
        // and there are as many entries as buffers, so that it is none that waits to be read. The tail is left alone.
        unsafe { (&raw mut (*entry).address).write(buffer.as_ptr() as u64) };
        // SAFETY: as above.
        unsafe { (&raw mut (*entry).length).write(LENGTH) };
        // SAFETY: as above.
        unsafe { (&raw mut (*entry).id).write(id) };
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was lent.
    fn publish(&self) {
        // SAFETY: the tail is in the first entry, aligned; the kernel only reads it, and it is written here alone.
        let tail = unsafe { AtomicU16::from_ptr(self.lent.start().add(offset_of!(Lent, tail)).cast()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn place(&self, fd: usize) -> Option<usize> {
        self.by_fd.get(fd)?.checked_sub(1)
    }

    fn leave(&mut self, at: usize, fd: usize) {
        if self.place(fd) == Some(at)
            && let Some(by_fd) = self.by_fd.get_mut(fd)
        {
            *by_fd = 0;
        }
        if self.watched.get_mut(at).and_then(Option::take).is_some() {
            self.free.push(at);
        }
    }
}

impl Drop for Multishot {
    fn drop(&mut self) {
        // The kernel lets go of the buffers before they are given back. Where it refuses there is nothing armed.
        let _ = self.ring.submitter().register_sync_cancel(None, types::CancelBuilder::any());
        let _ = self.ring.submitter().unregister_buf_ring(GROUP);
    }
}

fn descriptor(fd: RawFd) -> Option<usize> {
    usize::try_from(fd).ok()
}
