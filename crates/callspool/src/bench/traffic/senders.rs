//! Generators with a thread each, told what to do by channels. A call is sent to by one of them, by its number.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Protection;
use super::generator::{Generator, PAUSE, Sent, sockets};

/// How long a thread may take to answer; it goes round in a fraction of that.
const ANSWER: Duration = Duration::from_secs(5);

/// Reports that are taken before packets have their turn again: a thousand streams send one in five seconds each.
const REPORTS_MAX: usize = 16;

enum Order {
    Add(usize, Vec<SocketAddr>),
    Remove(BTreeSet<usize>),
    /// Sends nothing from now on; answered when that holds.
    Pause(Sender<()>),
    Resume,
}

struct Thread {
    orders: Sender<Order>,
    port: u16,
    sent: Arc<Mutex<Sent>>,
    handle: JoinHandle<io::Result<()>>,
}

/// See the module. Dropped, they send nothing more.
pub(crate) struct Senders(Vec<Thread>);

impl Senders {
    pub(crate) fn start(local: IpAddr, threads: usize, protection: Option<&Protection>) -> io::Result<Self> {
        let start = |number| {
            let (rtp, reports) = sockets(local)?;
            let port = rtp.local_addr()?.port();
            let (orders, taken) = channel();
            let sent = Arc::new(Mutex::new(Sent::default()));
            let shared = Arc::clone(&sent);
            reports.set_nonblocking(true)?;
            let protection = protection.cloned();
            let run = move || run(Generator::new(rtp).protected_by(protection), &reports, &taken, &shared);
            let handle = std::thread::Builder::new().name(format!("sender-{number}")).spawn(run)?;
            Ok(Thread { orders, port, sent, handle })
        };
        (0..threads.max(1)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Where the media of a call come from.
    pub(crate) fn port(&self, call: usize) -> u16 {
        self.of(call).map_or(0, |t| t.port)
    }

    pub(crate) fn add(&self, call: usize, to: &[SocketAddr]) {
        self.tell(self.of(call), || Order::Add(call, to.to_vec()));
    }

    pub(crate) fn remove(&self, calls: &BTreeSet<usize>) {
        self.tell(&self.0, || Order::Remove(calls.clone()));
    }

    /// Nothing is sent any more when this comes back.
    pub(crate) fn pause(&self) {
        let (answer, answered) = channel();
        self.tell(&self.0, || Order::Pause(answer.clone()));
        for _ in &self.0 {
            // Who has ended sends nothing either.
            let _ = answered.recv_timeout(ANSWER);
        }
    }

    pub(crate) fn resume(&self) {
        self.tell(&self.0, || Order::Resume);
    }

    /// Of all of them, since the start.
    pub(crate) fn sent(&self) -> Sent {
        let mut all = Sent::default();
        for thread in &self.0 {
            all.merge(&thread.sent.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }

    /// Whether one of them has given up, and why.
    pub(crate) fn failure(&mut self) -> Option<io::Error> {
        let ended = self.0.iter().position(|t| t.handle.is_finished())?;
        match self.0.swap_remove(ended).handle.join() {
            Ok(Err(e)) => Some(e),
            _ => Some(io::Error::other("a sending thread has ended")),
        }
    }

    fn of(&self, call: usize) -> Option<&Thread> {
        self.0.get(call % self.0.len().max(1))
    }

    fn tell<'a>(&self, threads: impl IntoIterator<Item = &'a Thread>, order: impl Fn() -> Order) {
        for thread in threads {
            // `failure` tells of those that have ended.
            let _ = thread.orders.send(order());
        }
    }
}

/// `reports` is where reports come to: closed, each would be answered by ICMP; full, each would be counted as one that the
/// kernel had to drop, as those are that a recorder does not read in time.
fn run(
    mut generator: Generator,
    reports: &UdpSocket,
    orders: &Receiver<Order>,
    sent: &Mutex<Sent>,
) -> io::Result<()> {
    let mut is_paused = false;
    loop {
        match orders.try_recv() {
            Ok(Order::Add(call, to)) => generator.add(call, &to),
            Ok(Order::Remove(calls)) => generator.remove(&calls),
            Ok(Order::Pause(answer)) => {
                is_paused = true;
                sent.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&generator.sent);
                let _ = answer.send(());
            }
            Ok(Order::Resume) => {
                is_paused = false;
                generator.resume();
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {}
        }
        if is_paused || !generator.step()? {
            // Who looks at the counts is waited for by nobody: the next round tells them.
            if let Ok(mut sent) = sent.try_lock() {
                sent.clone_from(&generator.sent);
            }
            (0..REPORTS_MAX).take_while(|_| reports.recv(&mut []).is_ok()).for_each(drop);
            std::thread::sleep(PAUSE);
        }
    }
}
