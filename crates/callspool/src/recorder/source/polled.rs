//! A socket for each port: `epoll` says which have something, `recvmmsg` takes it.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use model::WallTime;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::{Batch, Left};
use super::{Datagram, Key};

/// Sockets that one look at epoll names; with more ready ones it is asked again at once.
const EVENTS: usize = 1024;
/// Looks at epoll at a time: 32,768 sockets, which is more than a process has descriptors most of the time.
const ROUNDS_MAX: usize = 32;
/// Batches that one socket may bring at a time: with 5 ms, over 12,000 packets a second. What floods faster waits in the
/// kernel's buffer and is lost there, so that one stream cannot starve the others.
const BATCHES_MAX: usize = 4;
/// Datagrams at a time, beyond which no further socket is named, so that no flood of many sockets keeps a flush waiting:
/// 5,000 calls bring as many in 130 ms. The rest is named at the next tick.
const DATAGRAMS_MAX: u64 = 65_536;

struct Watched {
    key: Key,
    ipv6: bool,
    socket: Arc<UdpSocket>,
}

/// See the module.
pub(crate) struct Polled {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    /// By descriptor, which the kernel keeps small. As long as it is here nobody else has that number.
    watched: Vec<Option<Watched>>,
    /// Sockets that flooded: what is left on them is read the next time, as epoll tells only of news.
    unread: Vec<RawFd>,
    /// Those of the time before, while they are read.
    reading: Vec<RawFd>,
    batch: Batch,
}

impl Polled {
    pub(super) fn new(epoll: Epoll) -> Self {
        Self {
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            watched: Vec::new(),
            unread: Vec::new(),
            reading: Vec::new(),
            batch: Batch::new(),
        }
    }

    /// Edge-triggered: each datagram is told once, and no socket is asked a second time whether it is empty now. One that
    /// has something when it comes is told of too.
    pub(super) fn watch(&mut self, key: Key, socket: &Arc<UdpSocket>) -> io::Result<()> {
        let ipv6 = socket.local_addr()?.is_ipv6();
        let fd = socket.as_raw_fd();
        let index = index(fd).ok_or(Errno::EBADF)?;
        if let Some(watched) = self.watched.get_mut(index).and_then(Option::as_mut) {
            watched.key = key;
            return Ok(());
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, index as u64);
        self.epoll.add(&**socket, event)?;
        if self.watched.len() <= index {
            self.watched.resize_with(index + 1, || None);
        }
        if let Some(place) = self.watched.get_mut(index) {
            *place = Some(Watched { key, ipv6, socket: Arc::clone(socket) });
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, socket: &UdpSocket) {
        let fd = socket.as_raw_fd();
        if let Some(watched) = index(fd).and_then(|i| self.watched.get_mut(i)?.take()) {
            // Whoever sends by it may keep it a moment longer.
            let _ = self.epoll.delete(&*watched.socket);
            self.unread.retain(|unread| *unread != fd);
        }
    }

    pub(super) fn take(&mut self, now: WallTime, each: &mut impl FnMut(Key, Datagram<'_>)) -> u64 {
        let mut count = 0;
        std::mem::swap(&mut self.unread, &mut self.reading);
        while let Some(fd) = self.reading.pop() {
            count += self.read(fd, now, each);
        }
        for _ in 0..ROUNDS_MAX {
            let Ok(named) = self.epoll.wait(&mut self.events, EpollTimeout::ZERO) else { break };
            for event in 0..named {
                let fd = self.events.get(event).and_then(|e| RawFd::try_from(e.data()).ok());
                count += fd.map_or(0, |fd| self.read(fd, now, each));
            }
            if named < EVENTS || count >= DATAGRAMS_MAX {
                break;
            }
        }
        count
    }

    fn read(&mut self, fd: RawFd, now: WallTime, each: &mut impl FnMut(Key, Datagram<'_>)) -> u64 {
        let watched = index(fd).and_then(|i| self.watched.get(i)?.as_ref());
        let Some(Watched { key, ipv6, socket }) = watched else { return 0 };
        let mut hand = |datagram: Datagram<'_>| each(*key, datagram);
        let (count, left) = self.batch.read(socket, *ipv6, now, BATCHES_MAX, &mut hand);
        if left == Left::Something {
            self.unread.push(fd);
        }
        count
    }
}

/// Descriptors are never negative.
fn index(fd: RawFd) -> Option<usize> {
    usize::try_from(fd).ok()
}
