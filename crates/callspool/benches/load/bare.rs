//! A receiver that does nothing: the least that so many sockets cost.
//!
//! The same tick, `epoll` and `recvmmsg` with kernel time stamps as the media threads, in a process of its own, which
//! is this program started with [`ARGUMENT`]. It looks at no octet of what it reads. On its standard input it is
//! asked how many packets came; the end of the input ends it.

use std::io::{BufRead, BufReader, IoSliceMut, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use crate::machine::Cores;
use crate::{Failure, machine};

/// What makes this program the receiver.
pub(crate) const ARGUMENT: &str = "bare-receiver";
/// As the recorder's default.
const TICK: Duration = Duration::from_millis(5);
/// As the recorder's.
const BATCH: usize = 16;
/// As the recorder's default.
const RECEIVE_BUFFER: usize = 208 << 10;
/// The first port tried; above what callspool is given here.
const PORT: u16 = 36_000;

/// The receiver, seen from the measuring process.
pub(crate) struct Bare {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    pub(crate) ports: Vec<u16>,
}

impl Bare {
    pub(crate) fn start(sockets: usize) -> Result<Self, Failure> {
        let start = || {
            Command::new(std::env::current_exe()?)
                .args([ARGUMENT, &sockets.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        };
        let mut child = machine::on(Cores::One, start)?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output of the bare receiver")?);
        let mut bare = Self { child, answers, ports: Vec::new() };
        let line = bare.line()?;
        bare.ports = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        Ok(bare)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Packets received since the start.
    pub(crate) fn received(&mut self) -> Result<u64, Failure> {
        self.child.stdin.as_mut().ok_or("no input of the bare receiver")?.write_all(b"?\n")?;
        Ok(self.line()?.trim().parse()?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The receiver itself.
pub(crate) fn serve(sockets: usize) -> Result<(), Failure> {
    machine::raise_descriptor_limit();
    let sockets = bind(sockets)?;
    let ports: Result<Vec<String>, _> =
        sockets.iter().map(|s| s.local_addr().map(|a| a.port().to_string())).collect();
    println!("{}", ports?.join(" "));
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", counted.load(Ordering::Relaxed));
        }
        std::process::exit(0);
    });
    receive(&sockets, &received)
}

fn bind(count: usize) -> Result<Vec<UdpSocket>, Failure> {
    let mut sockets = Vec::with_capacity(count);
    for port in PORT..=u16::MAX {
        if sockets.len() == count {
            break;
        }
        // What somebody else has is passed over.
        if let Ok(socket) = UdpSocket::bind(("127.0.0.1", port)) {
            socket.set_nonblocking(true)?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

fn receive(sockets: &[UdpSocket], received: &AtomicU64) -> Result<(), Failure> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut events = vec![EpollEvent::empty(); 1_024];
    let mut buffers = vec![[0_u8; 2_048]; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec)));
    loop {
        let began = Instant::now();
        loop {
            let ready = epoll.wait(&mut events, EpollTimeout::ZERO)?;
            let mut packets = 0;
            for event in &events[..ready] {
                let socket = usize::try_from(event.data()).ok().and_then(|i| sockets.get(i));
                let Some(socket) = socket else { continue };
                let mut slices: Vec<_> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
                let flags = MsgFlags::MSG_DONTWAIT;
                if let Ok(got) = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
                    packets += got.count() as u64;
                }
            }
            received.fetch_add(packets, Ordering::Relaxed);
            if ready < events.len() {
                break;
            }
        }
        std::thread::sleep(TICK.saturating_sub(began.elapsed()));
    }
}
