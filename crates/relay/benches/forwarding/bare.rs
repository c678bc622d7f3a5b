//! A forwarder that does nothing: the least that so many sockets cost. The same rounds, `epoll` and `recvmmsg` with
//! kernel times as a relay, and each datagram is sent by the port of the other side; or the same by io_uring. It looks at no
//! octet.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use relay::Ways;
use rings::{Multishot, Passed, Sending};

/// As the relay's default.
const GATHER: Duration = Duration::from_millis(1);

pub(crate) struct Bare {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// Sockets in pairs: what comes to one is sent by the other, to where its peer is.
    pub(crate) fn start(
        ways: Ways,
        pairs: Vec<[(UdpSocket, SocketAddr); 2]>,
    ) -> Result<Self, crate::Failure> {
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        if ways == Ways::IoUring {
            let thread = std::thread::Builder::new().name("bare".to_owned());
            let thread = thread.spawn(move || {
                if let Err(e) = by_ring(&pairs, &ending) {
                    eprintln!("the bare forwarder: {e}");
                }
            })?;
            return Ok(Self { ends, thread: Some(thread) });
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, (socket, _)) in pairs.iter().flatten().enumerate() {
            socket.set_nonblocking(true)?;
            setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, index as u64))?;
        }
        let thread = std::thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || forward(&pairs, &epoll, &ending))?;
        Ok(Self { ends, thread: Some(thread) })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The same by io_uring.
fn by_ring(pairs: &[[(UdpSocket, SocketAddr); 2]], ends: &AtomicBool) -> std::io::Result<()> {
    let (mut ring, mut sending) = (Multishot::new(2_048)?.begin()?, Sending::new()?.begin()?);
    for (index, (socket, _)) in pairs.iter().flatten().enumerate() {
        setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
        ring.watch(index as u64, &Arc::new(socket.try_clone()?))?;
    }
    let (mut octets, mut came) = (Vec::<u8>::new(), Vec::new());
    while !ends.load(Ordering::Relaxed) {
        ring.wait(Duration::from_millis(100))?;
        let woke = Instant::now();
        ring.take(|index, datagram| {
            let from = octets.len();
            octets.extend_from_slice(datagram.bytes);
            came.push((usize::try_from(index).unwrap_or(0), from..octets.len()));
        })?;
        let each = came.iter().map(|(index, at)| {
            let (by, to) = &pairs[index / 2][1 - index % 2];
            (by, *to, &octets[at.clone()])
        });
        sending.send(each, &mut Passed::default())?;
        octets.clear();
        came.clear();
        std::thread::sleep(GATHER.saturating_sub(woke.elapsed()));
    }
    Ok(())
}

fn forward(pairs: &[[(UdpSocket, SocketAddr); 2]], epoll: &Epoll, ends: &AtomicBool) {
    let mut events = vec![EpollEvent::empty(); 1_024];
    let mut buffers = [[0_u8; 2_048]; 2];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(2, Some(nix::cmsg_space!(TimeSpec)));
    while !ends.load(Ordering::Relaxed) {
        let mut ready = epoll.wait(&mut events, EpollTimeout::from(100_u8)).unwrap_or(0);
        let woke = Instant::now();
        loop {
            for event in events.iter().take(ready) {
                let index = usize::try_from(event.data()).unwrap_or(0);
                let pair = &pairs[index / 2];
                let ((from, _), (by, to)) = (&pair[index % 2], &pair[1 - index % 2]);
                loop {
                    let mut slices = buffers.each_mut().map(|b| [IoSliceMut::new(b)]);
                    let flags = MsgFlags::MSG_DONTWAIT;
                    let got = recvmmsg(from.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None);
                    let Ok(got) = got else { break };
                    let mut count = 0;
                    for message in got {
                        count += 1;
                        if let Some(octets) = message.iovs().next() {
                            let _ = by.send_to(octets, to);
                        }
                    }
                    if count < 2 {
                        break;
                    }
                }
            }
            if ready < events.len() {
                break;
            }
            ready = epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        }
        std::thread::sleep(GATHER.saturating_sub(woke.elapsed()));
    }
}
