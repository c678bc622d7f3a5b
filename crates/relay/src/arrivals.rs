//! What comes to the ports: by `epoll` and a call for each port that has something, or by io_uring, for all of them at
//! once. Both hand out the same; whoever asks does not see which it is.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use datagrams::{Datagram, Polled};
use model::WallTime;
use nix::sys::eventfd::EventFd;
use rings::Multishot;

/// 4.3 MiB of buffers: what 500 calls bring in 40 ms. What finds none waits in its socket.
const BUFFERS: u16 = 2_048;

/// With all that can fail done, on its way to the thread that reads.
pub(crate) struct Prepared {
    ring: Option<rings::Prepared<Multishot>>,
    polled: datagrams::Prepared,
}

impl Prepared {
    /// By sockets: every kernel has that.
    ///
    /// # Errors
    /// When there is no descriptor for it.
    pub(crate) fn new(wake: &EventFd) -> io::Result<Self> {
        let polled = datagrams::Prepared::new()?;
        polled.wake_by(wake.as_fd())?;
        Ok(Self { ring: None, polled })
    }

    /// By a ring.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub(crate) fn by_ring(&mut self, wake: &EventFd) -> io::Result<()> {
        let mut ring = Multishot::new(BUFFERS)?;
        ring.wake_by(wake.as_fd())?;
        self.ring = Some(ring);
        Ok(())
    }

    /// To be called by the thread that reads.
    pub(crate) fn begin(self) -> Arrivals {
        let ring = self.ring.and_then(|ring| ring.begin().ok());
        Arrivals { ring, polled: self.polled.begin() }
    }
}

/// See the module.
pub(crate) struct Arrivals {
    ring: Option<Box<Multishot>>,
    /// What is used where there is no ring, or none any more.
    polled: Polled,
}

impl Arrivals {
    pub(crate) const fn is_by_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// # Errors
    /// When the kernel has no memory for it: nothing of this socket is told.
    pub(crate) fn watch(&mut self, key: u64, socket: &Arc<UdpSocket>) -> io::Result<()> {
        match &mut self.ring {
            Some(ring) => ring.watch(key, socket),
            None => self.polled.watch(key, socket, 1),
        }
    }

    pub(crate) fn forget(&mut self, socket: &UdpSocket) {
        match &mut self.ring {
            Some(ring) => ring.forget(socket),
            None => self.polled.forget(socket),
        }
    }

    /// Sleeps until something comes or somebody wakes it.
    ///
    /// # Errors
    /// When the kernel refuses to be asked.
    pub(crate) fn wait(&mut self, longest: Duration) -> io::Result<()> {
        match &mut self.ring {
            Some(ring) => ring.wait(longest),
            None => self.polled.wait(longest),
        }
    }

    /// Hands out what has come; how many system calls it took.
    ///
    /// # Errors
    /// When the kernel refuses to be asked.
    pub(crate) fn take(&mut self, each: &mut impl FnMut(u64, Datagram<'_>)) -> io::Result<u64> {
        let Some(ring) = &mut self.ring else { return Ok(self.polled.take(each).calls) };
        let before = ring.calls();
        let taken = ring.take(|key, came| {
            let at = came.at.and_then(|at| i64::try_from(at.as_nanos()).ok()).map(WallTime);
            each(key, Datagram { at, from: came.from, bytes: came.bytes });
        });
        taken.map(|_| ring.calls() - before)
    }

    /// The kernel refused: from now on it is by sockets. False where it is already.
    pub(crate) fn give_up_ring<'a>(
        &mut self,
        sockets: impl Iterator<Item = (u64, &'a Arc<UdpSocket>)>,
    ) -> bool {
        let Some(ring) = self.ring.take() else { return false };
        // It lets go of the sockets first.
        drop(ring);
        for (key, socket) in sockets {
            let _ = self.polled.watch(key, socket, 1);
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::eventfd::EfdFlags;

    use super::*;

    fn bound() -> Arc<UdpSocket> {
        Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    fn take(arrivals: &mut Arrivals) -> Vec<(u64, Vec<u8>)> {
        let mut came = Vec::new();
        arrivals.take(&mut |key, datagram| came.push((key, datagram.bytes.to_vec()))).unwrap();
        came
    }

    #[test]
    fn a_ring_that_is_given_up_costs_nothing_that_came_later() {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let mut prepared = Prepared::new(&wake).unwrap();
        if let Err(e) = prepared.by_ring(&wake) {
            println!("NOT TRIED: io_uring is not to be had here: {e}");
            return;
        }
        let mut arrivals = prepared.begin();
        assert!(arrivals.is_by_ring());
        let (sockets, sender) = ([bound(), bound()], bound());
        let say = |at: usize, what: &[u8]| sender.send_to(what, sockets[at].local_addr().unwrap()).unwrap();
        for (key, socket) in (0..).zip(&sockets) {
            arrivals.watch(key, socket).unwrap();
        }
        say(0, b"by ring");
        assert_eq!(take(&mut arrivals), [(0, b"by ring".to_vec())]);
        assert!(arrivals.give_up_ring((0..).zip(&sockets)));
        assert!(!arrivals.is_by_ring() && !arrivals.give_up_ring(std::iter::empty()));
        say(1, b"by socket");
        say(0, b"too");
        arrivals.wait(Duration::from_secs(20)).unwrap();
        let mut came = take(&mut arrivals);
        came.sort();
        assert_eq!(came, [(0, b"too".to_vec()), (1, b"by socket".to_vec())]);
        arrivals.forget(&sockets[1]);
        say(1, b"gone");
        assert_eq!(take(&mut arrivals), []);
        wake.write(1).unwrap();
        arrivals.wait(Duration::from_secs(60)).unwrap();
    }
}
