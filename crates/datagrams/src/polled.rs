//! Many sockets: `epoll` says which have something, and a [`Batch`] takes it.
//!
//! ```text
//!  watch(key, socket) ──► epoll, edge-triggered ──► wait: sleeps until something comes
//!                              │                      │
//!                              ▼                      ▼
//!         take: who had more than his share the last time, then all that are named ──► (key, datagram)
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Batch, Datagram, Expected, Left, Taken};

/// Sockets that one look at epoll names; with more ready ones it is asked again at once.
const EVENTS: usize = 1_024;
/// Looks at epoll at a time: 32,768 sockets, which is more than a process has descriptors most of the time.
const ROUNDS_MAX: usize = 32;
/// Batches that the socket of one stream may bring at a time: with 5 ms, over 12,000 packets a second. What floods faster waits in the
/// kernel's buffer and is lost there, so that one stream cannot starve the others.
const BATCHES_MAX: usize = 4;
/// Datagrams at a time, beyond which no further socket is read, so that no flood of many sockets keeps the caller from what
/// else he has to do: 5,000 calls bring as many in 130 ms. The rest is named the next time.
const DATAGRAMS_MAX: u64 = 65_536;
/// What epoll says of whoever ends a wait: no descriptor.
const WAKE: u64 = u64::MAX;

/// How many sockets before its turn the key of one is told.
const FORETOLD: usize = 8;

/// What [`Polled::take_foretold`] hands out.
#[derive(Debug)]
pub enum Coming<'a> {
    /// Something comes with this key soon: who would wait for memory then may have it fetched.
    Soon(u64),
    /// It is here.
    Now(u64, Datagram<'a>),
}

struct Watched {
    key: u64,
    /// Whose shares it may bring: how many streams.
    shares: u32,
    is_v6: bool,
    /// In which taking it was read last.
    read: u64,
    is_unread: bool,
    socket: Arc<UdpSocket>,
}

/// One with all that can fail done, on its way to the thread that will own it.
#[derive(Debug)]
pub struct Prepared(Epoll);

impl Prepared {
    /// # Errors
    /// When the kernel has no descriptor for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// From when it has begun a write to this eventfd ends a [`Polled::wait`], the one that is on or else the next. It need
    /// not be read.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub fn wake_by(&self, wake: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.0.add(wake, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, WAKE))?)
    }

    /// To be called by the thread that reads.
    #[must_use]
    pub fn begin(self) -> Polled {
        Polled {
            epoll: self.0,
            events: vec![EpollEvent::empty(); EVENTS],
            named: 0,
            watched: Vec::new(),
            unread: VecDeque::new(),
            batch: Batch::default(),
            takings: 0,
        }
    }
}

/// See the module.
pub struct Polled {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    /// How many of them a wait has named.
    named: usize,
    /// By descriptor, which the kernel keeps small. As long as it is here nobody else has that number.
    watched: Vec<Option<Watched>>,
    /// Sockets that have more than one may bring at a time, each once: the rest is read the next time, as epoll tells only
    /// of news.
    unread: VecDeque<RawFd>,
    batch: Batch,
    /// How often something was taken.
    takings: u64,
}

impl Polled {
    /// From now on what comes to this socket, and what waits there, is handed out with this key; also where it was watched
    /// with another. It is of so many streams, and may bring as many times what one may. Each datagram is told once, and no
    /// socket is asked a second time whether it is empty now.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub fn watch(&mut self, key: u64, socket: &Arc<UdpSocket>, shares: u32) -> io::Result<()> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        let fd = socket.as_raw_fd();
        let index = index(fd).ok_or(Errno::EBADF)?;
        if let Some(watched) = self.watched.get_mut(index).and_then(Option::as_mut) {
            (watched.key, watched.shares) = (key, shares);
            return Ok(());
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, index as u64);
        self.epoll.add(&**socket, event)?;
        if self.watched.len() <= index {
            self.watched.resize_with(index + 1, || None);
        }
        if let Some(place) = self.watched.get_mut(index) {
            let socket = Arc::clone(socket);
            *place = Some(Watched { key, shares, is_v6, read: self.takings, is_unread: false, socket });
        }
        Ok(())
    }

    /// Nothing that comes to this socket, or came and was not taken, is handed out any more.
    pub fn forget(&mut self, socket: &UdpSocket) {
        let fd = socket.as_raw_fd();
        if let Some(watched) = index(fd).and_then(|i| self.watched.get_mut(i)?.take()) {
            // Whoever sends by it may keep it a moment longer.
            let _ = self.epoll.delete(&*watched.socket);
            if watched.is_unread {
                self.unread.retain(|unread| *unread != fd);
            }
        }
    }

    /// Sleeps until something has come or somebody wakes it, and no longer than that (milliseconds count); it may return
    /// earlier.
    ///
    /// # Errors
    /// When the kernel refuses to be asked.
    pub fn wait(&mut self, longest: Duration) -> io::Result<()> {
        let longest = u16::try_from(longest.as_millis()).unwrap_or(u16::MAX);
        let longest = if self.unread.is_empty() && self.named == 0 { longest } else { 0 };
        match self.epoll.wait(self.events.get_mut(self.named..).unwrap_or_default(), longest) {
            Ok(named) => self.named += named,
            // There is no room for more.
            Err(Errno::EINTR | Errno::EINVAL) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Hands out what has come until now, each with the key of its socket. Only where many times of what a stream brings has
    /// come to one socket, or to all of them, is the rest left for the next time: so nobody who floods keeps others waiting.
    pub fn take(&mut self, each: &mut impl FnMut(u64, Datagram<'_>)) -> Taken {
        self.take_foretold(&mut |coming| {
            if let Coming::Now(key, datagram) = coming {
                each(key, datagram);
            }
        })
    }

    /// The same, where it is told of most datagrams that they come a little before.
    pub fn take_foretold(&mut self, each: &mut impl FnMut(Coming<'_>)) -> Taken {
        self.takings += 1;
        let mut taken = Taken { count: 0, calls: 0, left: Left::Something };
        for _ in 0..self.unread.len() {
            // Who is not read now stays where it is.
            if taken.count >= DATAGRAMS_MAX {
                break;
            }
            let Some(fd) = self.unread.pop_front() else { break };
            if let Some(watched) = index(fd).and_then(|i| self.watched.get_mut(i)?.as_mut()) {
                watched.is_unread = false;
            }
            self.read(fd, &mut taken, each);
        }
        let mut named = std::mem::take(&mut self.named);
        for round in 0..=ROUNDS_MAX {
            if named == 0 || round > 0 {
                if round == ROUNDS_MAX || taken.count >= DATAGRAMS_MAX {
                    return taken;
                }
                named = match self.epoll.wait(&mut self.events, EpollTimeout::ZERO) {
                    Err(Errno::EINTR) => continue,
                    named => named.unwrap_or(0),
                };
            }
            (0..FORETOLD).for_each(|event| self.foretell(event, named, each));
            for event in 0..named {
                self.foretell(event + FORETOLD, named, each);
                let fd = self.events.get(event).and_then(|e| RawFd::try_from(e.data()).ok());
                if let Some(fd) = fd {
                    self.read(fd, &mut taken, each);
                }
            }
            if named < EVENTS {
                break;
            }
        }
        taken.left = if self.unread.is_empty() { Left::Nothing } else { Left::Something };
        taken
    }

    /// Tells of the socket of an event, if there are so many.
    fn foretell(&self, event: usize, named: usize, each: &mut impl FnMut(Coming<'_>)) {
        let event = self.events.get(event).filter(|_| event < named);
        let fd = event.and_then(|e| usize::try_from(e.data()).ok());
        if let Some(watched) = fd.and_then(|fd| self.watched.get(fd)?.as_ref()) {
            each(Coming::Soon(watched.key));
        }
    }

    /// Reads a socket, once in a taking.
    fn read(&mut self, fd: RawFd, taken: &mut Taken, each: &mut impl FnMut(Coming<'_>)) {
        let watched = index(fd).and_then(|i| self.watched.get_mut(i)?.as_mut());
        let Some(watched) = watched else { return };
        let mut left = Left::Something;
        if watched.read != self.takings {
            watched.read = self.takings;
            let (key, shares) = (watched.key, usize::try_from(watched.shares).unwrap_or(usize::MAX));
            let expected = if shares > 1 { Expected::Many } else { Expected::One };
            let reading = (expected, BATCHES_MAX.saturating_mul(shares.max(1)));
            let mut hand = |datagram: Datagram<'_>| each(Coming::Now(key, datagram));
            let read = self.batch.read(&watched.socket, watched.is_v6, reading, &mut hand);
            taken.count += read.count;
            taken.calls += read.calls;
            left = read.left;
        }
        if left == Left::Something && !std::mem::replace(&mut watched.is_unread, true) {
            self.unread.push_back(fd);
        }
    }
}

/// Descriptors are never negative.
fn index(fd: RawFd) -> Option<usize> {
    usize::try_from(fd).ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::eventfd::{EfdFlags, EventFd};
    use nix::sys::socket::{setsockopt, sockopt};

    use super::super::FIRST;
    use super::super::batch::BATCH;
    use super::*;

    fn socket() -> Arc<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        setsockopt(&socket, sockopt::RcvBuf, &(1 << 20)).unwrap();
        Arc::new(socket)
    }

    #[test]
    fn who_floods_waits_once_and_keeps_nobody_else_waiting() {
        let mut polled = Prepared::new().unwrap().begin();
        let (flooded, other, sender) = (socket(), socket(), socket());
        polled.watch(0, &flooded, 1).unwrap();
        polled.watch(1, &other, 1).unwrap();
        let most = u64::try_from(BATCHES_MAX * BATCH + FIRST).unwrap();
        for taking in 0..10 {
            for _ in 0..100 {
                sender.send_to(b"flood", flooded.local_addr().unwrap()).unwrap();
            }
            sender.send_to(b"media", other.local_addr().unwrap()).unwrap();
            // Waiting changes nothing.
            (0..taking % 3).for_each(|_| polled.wait(Duration::from_secs(60)).unwrap());
            let mut of = [0, 0];
            let taken = polled.take(&mut |key, _| of[usize::try_from(key).unwrap()] += 1);
            assert_eq!((of, taken.count, taken.left), ([most, 1], most + 1, Left::Something), "{taking}");
            assert_eq!(polled.unread.len(), 1);
        }
        // What it could not bring in these comes once the flood is over.
        let mut rest = 0;
        while polled.take(&mut |_, _| rest += 1).left == Left::Something {}
        assert_eq!(rest, 10 * (100 - most));
        sender.send_to(b"flood", flooded.local_addr().unwrap()).unwrap();
        polled.forget(&flooded);
        let taken = polled.take(&mut |_, _| {});
        assert_eq!((taken.count, taken.left), (0, Left::Nothing));
    }

    #[test]
    fn one_that_is_of_several_streams_may_bring_as_many_times_that() {
        let mut polled = Prepared::new().unwrap().begin();
        let (shared, sender) = (socket(), socket());
        polled.watch(0, &shared, 3).unwrap();
        for _ in 0..250 {
            sender.send_to(b"media", shared.local_addr().unwrap()).unwrap();
        }
        let most = u64::try_from(3 * BATCHES_MAX * BATCH).unwrap();
        let taken = polled.take(&mut |_, _| {});
        assert_eq!((taken.count, taken.left), (most, Left::Something));
        let taken = polled.take(&mut |_, _| {});
        assert_eq!((taken.count, taken.left), (250 - most, Left::Nothing));
    }

    #[test]
    fn who_waits_is_woken_by_what_comes_and_by_whoever_wants() {
        let (prepared, own, sender) = (Prepared::new().unwrap(), socket(), socket());
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        prepared.wake_by(wake.as_fd()).unwrap();
        let mut polled = prepared.begin();
        polled.watch(1, &own, 1).unwrap();
        let (to, long) = (own.local_addr().unwrap(), Duration::from_secs(60));
        for round in 0..100_u8 {
            let thread = std::thread::spawn({
                let sender = Arc::clone(&sender);
                move || sender.send_to(&[round], to).unwrap()
            });
            let mut came = 0;
            while came == 0 {
                polled.wait(long).unwrap();
                came = polled.take(&mut |key, d| assert_eq!((key, d.bytes), (1, &[round][..]))).count;
            }
            thread.join().unwrap();
            // It is never read: each write wakes.
            std::thread::scope(|scope| {
                scope.spawn(|| wake.write(1).unwrap());
                polled.wait(long).unwrap();
            });
            assert_eq!(polled.take(&mut |_, _| {}).count, 0);
        }
    }
}
