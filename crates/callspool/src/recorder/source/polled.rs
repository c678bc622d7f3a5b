//! A socket for each port: `epoll` says which have something, `recvmmsg` takes it.

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use model::WallTime;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::Batch;
use super::{Datagram, Key, Left};

/// Sockets that one look at epoll names; with more ready ones it is asked again at once.
const EVENTS: usize = 1024;
/// Looks at epoll at a time: 32,768 sockets, which is more than a process has descriptors most of the time.
const ROUNDS_MAX: usize = 32;
/// Batches that one socket may bring at a time: with 5 ms, over 12,000 packets a second. What floods faster waits in the
/// kernel's buffer and is lost there, so that one stream cannot starve the others.
const BATCHES_MAX: usize = 4;
/// Datagrams at a time, beyond which no further socket is read, so that no flood of many sockets keeps a flush waiting:
/// 5,000 calls bring as many in 130 ms. The rest is named at the next tick.
const DATAGRAMS_MAX: u64 = 65_536;

struct Watched {
    key: Key,
    ipv6: bool,
    /// In which taking it was read last.
    read: u64,
    is_unread: bool,
    socket: Arc<UdpSocket>,
}

/// See the module.
pub(crate) struct Polled {
    epoll: Epoll,
    events: Vec<EpollEvent>,
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
    pub(super) fn new(epoll: Epoll) -> Self {
        Self {
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            watched: Vec::new(),
            unread: VecDeque::new(),
            batch: Batch::new(),
            takings: 0,
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
            let socket = Arc::clone(socket);
            *place = Some(Watched { key, ipv6, read: self.takings, is_unread: false, socket });
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, socket: &UdpSocket) {
        let fd = socket.as_raw_fd();
        if let Some(watched) = index(fd).and_then(|i| self.watched.get_mut(i)?.take()) {
            // Whoever sends by it may keep it a moment longer.
            let _ = self.epoll.delete(&*watched.socket);
            if watched.is_unread {
                self.unread.retain(|unread| *unread != fd);
            }
        }
    }

    pub(super) fn take(&mut self, now: WallTime, each: &mut impl FnMut(Key, Datagram<'_>)) -> (u64, Left) {
        self.takings += 1;
        let mut count = 0;
        for _ in 0..self.unread.len() {
            // Who is not read now stays where it is.
            if count >= DATAGRAMS_MAX {
                break;
            }
            let Some(fd) = self.unread.pop_front() else { break };
            if let Some(watched) = index(fd).and_then(|i| self.watched.get_mut(i)?.as_mut()) {
                watched.is_unread = false;
            }
            count += self.read(fd, now, each);
        }
        for round in 0..=ROUNDS_MAX {
            if round == ROUNDS_MAX || count >= DATAGRAMS_MAX {
                return (count, Left::Something);
            }
            let named = match self.epoll.wait(&mut self.events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => continue,
                named => named.unwrap_or(0),
            };
            for event in 0..named {
                let fd = self.events.get(event).and_then(|e| RawFd::try_from(e.data()).ok());
                count += fd.map_or(0, |fd| self.read(fd, now, each));
            }
            if named < EVENTS {
                break;
            }
        }
        (count, if self.unread.is_empty() { Left::Nothing } else { Left::Something })
    }

    /// Reads a socket, once in a taking.
    fn read(&mut self, fd: RawFd, now: WallTime, each: &mut impl FnMut(Key, Datagram<'_>)) -> u64 {
        let watched = index(fd).and_then(|i| self.watched.get_mut(i)?.as_mut());
        let Some(watched) = watched else { return 0 };
        let (mut count, mut left) = (0, Left::Something);
        if watched.read != self.takings {
            watched.read = self.takings;
            let key = watched.key;
            let mut hand = |datagram: Datagram<'_>| each(key, datagram);
            (count, left) = self.batch.read(&watched.socket, watched.ipv6, now, BATCHES_MAX, &mut hand);
        }
        if left == Left::Something && !std::mem::replace(&mut watched.is_unread, true) {
            self.unread.push_back(fd);
        }
        count
    }
}

/// Descriptors are never negative.
fn index(fd: RawFd) -> Option<usize> {
    usize::try_from(fd).ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::live::Which;
    use super::super::Prepared;
    use super::*;

    fn socket() -> Arc<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(1 << 20)).unwrap();
        Arc::new(socket)
    }

    #[test]
    fn who_floods_waits_once_and_keeps_nobody_else_waiting() {
        let super::super::Source::Polled(mut polled) = Prepared::polled().unwrap().begin() else { panic!() };
        let (flooded, other, sender) = (socket(), socket(), UdpSocket::bind("127.0.0.1:0").unwrap());
        polled.watch(Key::new(0, 0, Which::Rtp), &flooded).unwrap();
        polled.watch(Key::new(1, 0, Which::Rtp), &other).unwrap();
        let most = u64::try_from(BATCHES_MAX).unwrap() * 16 + 2;
        for taking in 0..10 {
            for _ in 0..100 {
                sender.send_to(b"flood", flooded.local_addr().unwrap()).unwrap();
            }
            sender.send_to(b"media", other.local_addr().unwrap()).unwrap();
            let mut of = [0, 0];
            let (count, left) = polled.take(WallTime(0), &mut |key, _| of[key.slot()] += 1);
            assert_eq!((of, count, left), ([most, 1], most + 1, Left::Something), "{taking}");
            assert_eq!(polled.unread.len(), 1);
        }
        // What it could not bring in these comes once the flood is over.
        let mut rest = 0;
        while polled.take(WallTime(0), &mut |_, _| rest += 1).1 == Left::Something {}
        assert_eq!(rest, 10 * (100 - most));
        sender.send_to(b"flood", flooded.local_addr().unwrap()).unwrap();
        polled.forget(&flooded);
        assert_eq!(polled.take(WallTime(0), &mut |_, _| {}), (0, Left::Nothing));
    }
}
