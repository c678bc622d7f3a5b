//! Relay of media: the sockets and the thread around [`media::relay`], which decides.
//!
//! ```text
//!                      orders: add, change, tee, record, remove
//!  Relays (handle) ───────────────────────────────┐
//!        ▲                                        ▼
//!        │ reports: events, handshakes,   ┌──────────────┐  first   forwards ──► the other legs
//!        └────────── counts ──────────────┤    thread    ├─ then    tees ──────► recorders elsewhere, ◄─ their reports
//!                                         └──────▲───────┘  last    Keep ──────► a recorder in this process
//!   ports of ends ── recvmmsg or io_uring ───────┘
//! ```
//!
//! A thread sleeps until a port has something, takes all that all ports have, sends it on, and then rests for what is left
//! of [`RelayConfig::gather`]: so a packet waits that long at most for others to come, and the thread wakes a thousand times a
//! second at most however many calls there are. What arrives is handed on in the order in which it came to its port.
//!
//! The thread waits for nobody: a socket whose buffer is full loses what was to be sent by it, as a network would, in a
//! count; reports that nobody takes are counted and lost. It never writes a file.

mod answers;
mod arrivals;
mod call;
mod calls;
mod clock;
mod figures;
mod sending;
mod thread;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use media::relay::{
    Beginning, Counts, EndId, Kept, OpenEnd, Recorder, Recording, Refused, Relay, Told, Which,
};
use model::WallTime;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rings::Sending;

use crate::arrivals::Prepared;
pub use crate::figures::Figures;
use crate::thread::Thread;

/// Orders that may wait for a thread: a second's worth at the highest rate of calls.
const ORDERS_MAX: usize = 8_192;
/// Reports that may wait for whoever takes them; beyond it they are counted ([`Figures::untold`]) and lost.
const REPORTS_MAX: usize = 8_192;

/// How a thread works.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The name of the thread, as tools show it.
    pub name: String,
    /// From when it woke until it looks again. Longer means fewer system calls and more delay.
    pub gather: Duration,
    /// How it reads and sends.
    pub ways: Ways,
}

/// How datagrams are read and forwarded: `docs/decisions/0025-relay.md` says why. Either way a packet is the same, and takes the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ways {
    /// Some calls of the kernel for each datagram (`epoll`, `recvmmsg`, `sendto`): every kernel has them.
    #[default]
    Sockets,
    /// Some calls for all datagrams of a round (io_uring, Linux 6.1); as [`Self::Sockets`] where the kernel does not allow it.
    IoUring,
}

impl Default for RelayConfig {
    /// 1 ms: far below what a jitter buffer holds, and a twentieth of what a packet of speech lasts.
    fn default() -> Self {
        Self { name: "relay".to_owned(), gather: Duration::from_millis(1), ways: Ways::default() }
    }
}

/// The ports of an end, bound. Whoever answers checks or shakes hands there keeps a clone of its own
/// ([`UdpSocket::try_clone`]) to send by.
#[derive(Debug)]
pub struct Sockets {
    /// For RTP, and RTCP where it is multiplexed.
    pub rtp: UdpSocket,
    /// For RTCP.
    pub rtcp: Option<UdpSocket>,
}

/// A recorder in this process. It is called by the thread that forwards, after everything was forwarded: it must not
/// block.
pub trait Keep: Send {
    /// A packet came to an end, in the clear if its keys are ours. It is called for each.
    fn keep(&mut self, kept: &Kept, packet: &[u8]);

    /// Time has passed, some 100 ms since the last time.
    fn pass(&mut self, now: WallTime);
}

/// A call that is to be relayed.
pub struct NewCall {
    /// Its ends.
    pub relay: Relay,
    /// Their ports.
    pub sockets: Vec<(EndId, Sockets)>,
    /// Who keeps what its ends say is to be kept.
    pub keep: Option<Box<dyn Keep>>,
}

/// What a thread has to tell of a call, by the number that it was given.
#[derive(Debug)]
pub struct Report {
    /// The call.
    pub call: u64,
    /// What it is.
    pub said: Said,
}

/// What a thread has to tell.
#[derive(Debug)]
pub enum Said {
    /// Something changed at an end.
    Event(Told),
    /// A check or a message of a handshake came to an end: for whoever answers them.
    Knocked {
        /// The end.
        end: EndId,
        /// To which of its ports.
        which: Which,
        /// From where.
        from: SocketAddr,
        /// The datagram.
        datagram: Vec<u8>,
    },
    /// A recorder is replayed what came last, since when the first of it arrived, with its source and number.
    Replaying {
        /// The end.
        end: EndId,
        /// What.
        replayed: media::relay::Replayed,
    },
    /// An order could not be carried out; nothing has changed by it.
    Refused {
        /// The end.
        end: EndId,
        /// Why.
        why: Refused,
    },
    /// The kernel does not tell of what comes to a port, for want of memory: nothing of it is relayed.
    Unwatched {
        /// The place of its end.
        end: usize,
        /// Which of its ports.
        which: Which,
    },
    /// It is relayed no more, and this became of all that came to its ends.
    Removed(Vec<(EndId, Counts)>),
}

/// How long what came last is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// From two seconds ago on, for ten seconds at most.
    Held,
    /// Two seconds.
    Released,
}

/// What a thread is told.
pub(crate) enum Order {
    Add { call: u64, new: Box<NewCall> },
    Change { call: u64, end: EndId, open: Box<OpenEnd> },
    Tee { call: u64, end: EndId, place: usize, to: Option<(Box<Recorder>, Beginning)> },
    Record { call: u64, recording: Recording, given: Instant },
    Remember { call: u64, memory: Memory },
    Remove { call: u64 },
    Stop,
}

/// Why a thread does not take an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotTaken {
    /// Too many wait already.
    #[error("{ORDERS_MAX} orders wait for the relay already: it is overloaded, refuse the call")]
    Full,
    /// It has ended.
    #[error("the relay has ended")]
    Ended,
}

/// A thread that relays. Dropped, it ends with all its calls.
pub struct Relays {
    orders: Sender<Order>,
    reports: Receiver<Report>,
    wake: Arc<EventFd>,
    figures: Arc<Figures>,
    instead: Option<String>,
    thread: Option<JoinHandle<()>>,
}

impl Relays {
    /// Starts one.
    ///
    /// # Errors
    /// There is no thread or descriptor for it.
    pub fn start(config: &RelayConfig) -> io::Result<Self> {
        let (orders, ordered) = bounded(ORDERS_MAX);
        let (report, reports) = bounded(REPORTS_MAX);
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let figures = Arc::new(Figures::default());
        let mut arrivals = Prepared::new(&wake)?;
        let (mut sending, mut instead) = (None, None);
        if config.ways == Ways::IoUring {
            // Both or neither: one alone would save half, and be another case to know.
            match Sending::new().and_then(|ring| arrivals.by_ring(&wake).map(|()| ring)) {
                Ok(ring) => sending = Some(ring),
                Err(e) => {
                    instead = Some(format!("io_uring is not to be had, and sockets are used instead: {e}"))
                }
            }
        }
        let (gather, figures_of) = (config.gather, Arc::clone(&figures));
        let prepared =
            Thread { gather, orders: ordered, reports: report, arrivals, sending, figures: figures_of };
        let thread = std::thread::Builder::new().name(config.name.clone()).spawn(move || prepared.run())?;
        Ok(Self { orders, reports, wake, figures, instead, thread: Some(thread) })
    }

    /// Why it does not read and send as it was wanted, where it does not.
    #[must_use]
    pub fn instead(&self) -> Option<&str> {
        self.instead.as_deref()
    }

    /// Relays a call from now on, under a number of the caller's that no other call has.
    ///
    /// # Errors
    /// It is not taken.
    pub fn add(&self, call: u64, new: NewCall) -> Result<(), NotTaken> {
        self.order(Order::Add { call, new: Box::new(new) })
    }

    /// Signalling says otherwise of an end: see [`Relay::change`].
    ///
    /// # Errors
    /// It is not taken.
    pub fn change(&self, call: u64, end: EndId, open: OpenEnd) -> Result<(), NotTaken> {
        self.order(Order::Change { call, end, open: Box::new(open) })
    }

    /// Sends copies of what comes to an end to a recorder, or to none any more: see [`Relay::tee`].
    ///
    /// # Errors
    /// It is not taken.
    pub fn tee(
        &self,
        call: u64,
        end: EndId,
        place: usize,
        to: Option<(Recorder, Beginning)>,
    ) -> Result<(), NotTaken> {
        self.order(Order::Tee { call, end, place, to: to.map(|(r, beginning)| (Box::new(r), beginning)) })
    }

    /// Whether what comes from now on may be kept: see [`Relay::record`]. Where it may not, what came after this was called
    /// is not replayed either, however long the order waits.
    ///
    /// # Errors
    /// It is not taken.
    pub fn record(&self, call: u64, recording: Recording) -> Result<(), NotTaken> {
        self.order(Order::Record { call, recording, given: Instant::now() })
    }

    /// A recorder of the call is suspected to have failed, or is not any more: see [`Relay::hold`] and [`Relay::release`].
    ///
    /// # Errors
    /// It is not taken.
    pub fn remember(&self, call: u64, memory: Memory) -> Result<(), NotTaken> {
        self.order(Order::Remember { call, memory })
    }

    /// Ends a call, which is told by [`Said::Removed`].
    ///
    /// # Errors
    /// It is not taken.
    pub fn remove(&self, call: u64) -> Result<(), NotTaken> {
        self.order(Order::Remove { call })
    }

    /// What it has to tell.
    #[must_use]
    pub const fn reports(&self) -> &Receiver<Report> {
        &self.reports
    }

    /// What it counts.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    fn order(&self, order: Order) -> Result<(), NotTaken> {
        self.orders.try_send(order).map_err(|e| match e {
            TrySendError::Full(_) => NotTaken::Full,
            TrySendError::Disconnected(_) => NotTaken::Ended,
        })?;
        // It fails only when 2^64 wait to be seen.
        let _ = self.wake.write(1);
        Ok(())
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        // It takes orders each round: there is room soon.
        let _ = self.orders.send_timeout(Order::Stop, Duration::from_secs(1));
        let _ = self.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
