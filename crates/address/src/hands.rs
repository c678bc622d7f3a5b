//! The one thread with powers: it opens sockets, gives addresses to the kernel and takes them back, and announces them.
//!
//! Who may change the addresses of a node may do much harm, so it is a thread of its own, which reads nothing that comes
//! from the network; powers are each thread's own on Linux. It carries out what it is told in order, and its owner waits
//! for nothing: the kernel may take its time with addresses when somebody else changes many.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use crossbeam_channel::{Receiver, Sender, bounded};
use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::announcement::{Mac, frames};
use crate::ears::Ears;
use crate::kernel::{Found, Kernel};

/// What may wait to be carried out: some seconds of what all addresses want.
const ORDERS_MAX: usize = 256;

/// What is to be done for one of the addresses.
#[derive(Debug)]
pub(crate) enum Job {
    /// Look whether the address can be held, and open what its nodes hear each other by.
    Begin { interface: String, index: u32 },
    /// Have it for a while.
    Hold { index: u32 },
    /// Have it no more.
    LetGo { index: u32 },
    /// Tell the network where it is.
    Announce { link: LinkAddr, mac: Mac },
}

/// What became of it. An announcement that could not be sent is one of several, and said nothing of.
#[derive(Debug)]
pub(crate) enum Done {
    Begun(io::Result<Ears>),
    Held(io::Result<()>),
    LetGo(io::Result<()>),
}

#[derive(Debug)]
struct Order {
    which: usize,
    address: IpNet,
    job: Job,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Hands {
    orders: Sender<Order>,
    done: Receiver<(usize, Done)>,
}

/// What the thread does.
#[derive(Debug)]
pub struct Worker {
    orders: Receiver<Order>,
    done: Sender<(usize, Done)>,
}

/// Both ends.
#[must_use]
pub fn hands() -> (Hands, Worker) {
    let (orders_in, orders) = bounded(ORDERS_MAX);
    // For each order there is one answer at most, and the owner takes them before it orders more.
    let (done_in, done) = bounded(2 * ORDERS_MAX);
    (Hands { orders: orders_in, done }, Worker { orders, done: done_in })
}

impl Hands {
    /// Has something done for the address of this number. False: too much waits already.
    pub(crate) fn order(&self, which: usize, address: IpNet, job: Job) -> bool {
        self.orders.try_send(Order { which, address, job }).is_ok()
    }

    /// What is done, if something is.
    pub(crate) fn done(&self) -> Option<(usize, Done)> {
        self.done.try_recv().ok()
    }

    /// Has what was ordered carried out, and no more. False: it was not within this time.
    pub(crate) fn finish(self, patience: std::time::Duration) -> bool {
        drop(self.orders);
        let end = std::time::Instant::now() + patience;
        loop {
            match self.done.recv_deadline(end) {
                Ok(_) => {}
                Err(e) => return e.is_disconnected(),
            }
        }
    }
}

impl Worker {
    /// Carries out orders until their owner is gone.
    pub fn run(self) {
        let mut tools = None;
        while let Ok(Order { which, address, job }) = self.orders.recv() {
            if tools.is_none() {
                tools = Some(Tools::open());
            }
            let done = match &mut tools {
                Some(Ok(tools)) => tools.carry_out(address, job),
                failed => {
                    let why = match failed.take() {
                        Some(Err(e)) => e,
                        _ => io::Error::other("no socket"),
                    };
                    failed_as(&job, why)
                }
            };
            if let Some(done) = done
                && self.done.send((which, done)).is_err()
            {
                return;
            }
        }
    }
}

struct Tools {
    kernel: Kernel,
    /// Frames go out by it; nothing comes in, as it is of no protocol.
    frames: OwnedFd,
}

impl Tools {
    fn open() -> io::Result<Self> {
        let frames = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { kernel: Kernel::open()?, frames })
    }

    fn carry_out(&mut self, address: IpNet, job: Job) -> Option<Done> {
        match job {
            Job::Begin { interface, index } => Some(Done::Begun(self.begin(address, &interface, index))),
            Job::Hold { index } => Some(Done::Held(self.kernel.hold(index, address))),
            Job::LetGo { index } => Some(Done::LetGo(self.kernel.let_go(index, address))),
            Job::Announce { link, mac } => {
                self.announce(address.addr(), link, mac);
                None
            }
        }
    }

    fn begin(&mut self, address: IpNet, interface: &str, index: u32) -> io::Result<Ears> {
        match self.kernel.find(address.addr())? {
            Found::Nothing => {}
            Found::Ours => self.kernel.let_go(index, address)?,
            Found::Foreign => {
                let ip = address.addr();
                let why = format!("{ip} is an address of this node already, by somebody else's word");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
            }
        }
        Ears::open(address.addr().is_ipv4(), interface, index)
    }

    fn announce(&self, address: IpAddr, link: LinkAddr, mac: Mac) {
        for frame in frames(address, mac) {
            // It is told again soon.
            let _ = sendto(self.frames.as_raw_fd(), &frame, &link, MsgFlags::MSG_DONTWAIT);
        }
    }
}

fn failed_as(job: &Job, why: io::Error) -> Option<Done> {
    match job {
        Job::Begin { .. } => Some(Done::Begun(Err(why))),
        Job::Hold { .. } => Some(Done::Held(Err(why))),
        Job::LetGo { .. } => Some(Done::LetGo(Err(why))),
        Job::Announce { .. } => None,
    }
}
