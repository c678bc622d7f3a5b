//! The thread: one round after the other, each as long as [`gather`](crate::RelayConfig::gather) at least.
//!
//! ```text
//!  a round   sleep until something comes ─ orders ─ read all ports ─ replay ─ send ─ keep ─ tell ─ rest
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender as Channel, TryRecvError};
use datagrams::Datagram;
use media::relay::{REPLAY_EVERY_NS, Sends, Why};
use model::WallTime;
use rings::Sending;

use crate::answers::TEES;
use crate::arrivals::{Arrivals, Prepared};
use crate::call::Call;
use crate::calls::{Calls, unpack};
use crate::clock::{Clock, Reading};
use crate::figures::Figures;
use crate::sending::{Sender, TeeSockets};
use crate::{Order, Report, Said};

/// How often a recorder in this process is told that time passes.
const PASS_EVERY: Duration = Duration::from_millis(100);
/// How long it sleeps when nothing comes.
const IDLE: Duration = Duration::from_millis(100);

/// What can fail is done; what is of the thread alone it makes itself.
pub(crate) struct Thread {
    pub(crate) gather: Duration,
    pub(crate) orders: Receiver<Order>,
    pub(crate) reports: Channel<Report>,
    pub(crate) arrivals: Prepared,
    /// What forwards by many sockets at once, where it is to be so.
    pub(crate) sending: Option<rings::Prepared<Sending>>,
    pub(crate) figures: Arc<Figures>,
}

/// The same, at work.
struct Rounds {
    gather: Duration,
    orders: Receiver<Order>,
    arrivals: Arrivals,
    works: Works,
}

/// What a thread does with what comes.
struct Works {
    calls: Calls,
    out: Out,
    clock: Clock,
    sends: Sends,
    sender: Sender,
    /// System calls that read.
    readings: u64,
    /// Datagrams since the batch was last carried out, the sum of their arrivals (after `base`), and the first.
    came: u64,
    arrivals: i64,
    first: Option<WallTime>,
    base: WallTime,
}

/// The ways out of the thread.
pub(crate) struct Out {
    pub(crate) tees: TeeSockets,
    reports: Channel<Report>,
    pub(crate) figures: Arc<Figures>,
    told: u64,
}

/// Where the thread is in telling recorders that time passes: some calls in each round, so that no packet waits for
/// all of them.
struct Passing {
    since: Instant,
    next: usize,
}

impl Passing {
    fn go_on(&mut self, slots: &mut [Option<Box<Call>>], now: WallTime) {
        let share = self.since.elapsed().min(PASS_EVERY).as_micros();
        let due = usize::try_from(slots.len() as u128 * share / PASS_EVERY.as_micros()).unwrap_or(0);
        if due == 0 {
            return;
        }
        self.since = Instant::now();
        for _ in 0..due {
            self.next = if self.next + 1 < slots.len() { self.next + 1 } else { 0 };
            if let Some(Some(call)) = slots.get_mut(self.next) {
                call.pass(now);
            }
        }
    }
}

impl Thread {
    /// Works until it is told to stop, or nobody can tell it any more.
    pub(crate) fn run(self) {
        self.begin().run();
    }

    fn begin(self) -> Rounds {
        let sending = self.sending.and_then(|ring| ring.begin().ok());
        let works = Works {
            calls: Calls::default(),
            out: Out { tees: TeeSockets::open(), reports: self.reports, figures: self.figures, told: 0 },
            clock: Clock::new(),
            sends: Sends::default(),
            sender: Sender::new(sending),
            readings: 0,
            came: 0,
            arrivals: 0,
            first: None,
            base: WallTime(0),
        };
        let arrivals = self.arrivals.begin();
        let mut rounds = Rounds { gather: self.gather, orders: self.orders, arrivals, works };
        rounds.agree();
        rounds
    }
}

impl Rounds {
    fn run(mut self) {
        let mut passing = Passing { since: Instant::now(), next: 0 };
        loop {
            self.wait();
            let woke = Instant::now();
            let time = self.works.clock.read();
            self.works.base = time.now;
            if !self.take_orders(time.now) {
                return;
            }
            self.receive(time);
            self.works.replay(time.now);
            self.works.carry_out();
            self.agree();
            passing.go_on(&mut self.works.calls.slots, time.now);
            self.works.tell();
            std::thread::sleep(self.gather.saturating_sub(woke.elapsed()));
        }
    }

    /// Sleeps until something comes.
    fn wait(&mut self) {
        let replays = !self.works.calls.replaying.is_empty();
        let longest = if replays { Duration::from_nanos(REPLAY_EVERY_NS.unsigned_abs()) } else { IDLE };
        if self.arrivals.wait(longest).is_err() {
            self.give_up_ring();
        }
    }

    /// False when there is nothing more to do for good.
    fn take_orders(&mut self, now: WallTime) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Ok(order) => {
                    let Works { calls, out, .. } = &mut self.works;
                    calls.carry_out(order, now, &mut self.arrivals, out);
                }
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn receive(&mut self, time: Reading) {
        let works = &mut self.works;
        let taken = self.arrivals.take(&mut |key, datagram| works.take_in(key, datagram, time));
        match taken {
            Ok(calls) => works.readings += calls,
            Err(_) => self.give_up_ring(),
        }
    }

    /// The kernel refuses what it allowed before: what comes is read socket by socket from now on.
    fn give_up_ring(&mut self) {
        let Works { calls, out, .. } = &self.works;
        if !self.arrivals.give_up_ring(calls.ports().chain(out.tees.watched())) {
            // There is no other way to sleep.
            std::thread::sleep(self.gather);
        }
    }

    /// By io_uring both ways or neither, whichever of them the kernel refused; and it is said which it is.
    fn agree(&mut self) {
        let is_by_ring = self.arrivals.is_by_ring() && self.works.sender.is_by_ring();
        if !is_by_ring {
            self.works.sender.give_up_ring();
            let Works { calls, out, .. } = &self.works;
            self.arrivals.give_up_ring(calls.ports().chain(out.tees.watched()));
        }
        self.works.out.figures.is_by_ring.store(is_by_ring, Ordering::Relaxed);
    }
}

impl Works {
    fn take_in(&mut self, key: u64, datagram: Datagram<'_>, time: Reading) {
        let (slot, end, which) = unpack(key);
        if slot == TEES {
            return self.answer(&datagram, time);
        }
        let Self { calls, out, sends, .. } = self;
        let Some(call) = calls.at(slot) else { return };
        let (Some(id), number) = (call.relay.end_at(end), call.number) else { return };
        let at = datagram.at.map_or(time.now, |at| time.at(at));
        self.came += 1;
        self.arrivals = self.arrivals.saturating_add(at.nanos_since(self.base));
        self.first = Some(self.first.map_or(at, |f| f.min(at)));
        sends.begin(u32::try_from(slot).unwrap_or(u32::MAX));
        if let Err(Why::Stun | Why::Dtls) =
            call.relay.receive(at, (id, which), datagram.from, datagram.bytes, sends)
        {
            let (from, datagram) = (datagram.from, datagram.bytes.to_vec());
            out.tell(number, Said::Knocked { end: id, which, from, datagram });
        }
        while let Some(told) = call.relay.poll_event() {
            out.tell(number, Said::Event(told));
        }
        if sends.is_full() {
            self.carry_out();
        }
    }

    /// A recorder answers.
    fn answer(&mut self, datagram: &Datagram<'_>, time: Reading) {
        let Self { calls, sends, .. } = self;
        let Some((slot, end)) = calls.answers.end(datagram.from) else { return };
        let Some(call) = calls.at(slot) else { return };
        sends.begin(u32::try_from(slot).unwrap_or(u32::MAX));
        call.relay.answer(time.now, end, datagram.bytes, sends);
        if sends.is_full() {
            self.carry_out();
        }
    }

    fn replay(&mut self, now: WallTime) {
        let Self { calls, sends, .. } = self;
        let Calls { slots, replaying, .. } = calls;
        replaying.retain(|slot| {
            let Some(call) = slots.get_mut(*slot).and_then(Option::as_deref_mut) else { return false };
            // What is more than a batch holds is sent in the next round.
            if !sends.is_full() {
                sends.begin(u32::try_from(*slot).unwrap_or(u32::MAX));
                call.relay.replay(now, sends);
            }
            call.relay.next_timeout().is_some()
        });
    }

    /// Forwards, then tees, then keeps.
    fn carry_out(&mut self) {
        let Self { calls, out, clock, sends, sender, .. } = self;
        let figures = &out.figures;
        let sent = sender.sent;
        sender.forward(sends, |outgoing| calls.port_of(outgoing));
        add(&figures.forwarded, sender.sent - sent);
        if self.came > 0 {
            let now = clock.read().now;
            let since = now.nanos_since(self.base);
            let count = i64::try_from(self.came).unwrap_or(i64::MAX);
            let all = since.saturating_mul(count).saturating_sub(self.arrivals);
            add(&figures.delay_ns, u64::try_from(all).unwrap_or(0));
            let most = self.first.map_or(0, |first| now.nanos_since(first));
            figures.delay_max_ns.fetch_max(u64::try_from(most).unwrap_or(0), Ordering::Relaxed);
        }
        let sent = sender.sent;
        sends.sort_tees();
        for run in sends.tees().chunk_by(|a, b| a.to.ip() == b.to.ip()) {
            match run.first().and_then(|o| out.tees.towards(o.to)) {
                Some(socket) => sender.send(socket, sends, run),
                None => sender.unsent += run.len() as u64,
            }
        }
        add(&figures.teed, sender.sent - sent);
        for kept in sends.kept() {
            let slot = usize::try_from(kept.tag).unwrap_or(usize::MAX);
            if let Some(call) = calls.at(slot) {
                call.keep(kept, sends);
            }
        }
        add(&figures.kept, sends.kept().len() as u64);
        add(&figures.received, std::mem::take(&mut self.came));
        (self.arrivals, self.first) = (0, None);
        self.sends.clear();
    }

    fn tell(&mut self) {
        let figures = &self.out.figures;
        add(&figures.unsent, std::mem::take(&mut self.sender.unsent));
        let calls = std::mem::take(&mut self.sender.calls) + std::mem::take(&mut self.readings);
        add(&figures.system_calls, calls);
        add(&figures.untold, std::mem::take(&mut self.out.told));
    }
}

impl Out {
    pub(crate) fn tell(&mut self, call: u64, said: Said) {
        if self.reports.try_send(Report { call, said }).is_err() {
            self.told += 1;
        }
    }
}

fn add(to: &AtomicU64, count: u64) {
    if count > 0 {
        to.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;

    /// A thread that is to read by io_uring, and to send by it or not; none where the machine does not allow it.
    fn rounds(
        sends: impl FnOnce(rings::Prepared<Sending>) -> Option<rings::Prepared<Sending>>,
    ) -> Option<Rounds> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let mut arrivals = Prepared::new(&wake).unwrap();
        let by_ring = arrivals.by_ring(&wake).and_then(|()| Sending::new());
        let sending =
            by_ring.inspect_err(|e| println!("NOT TRIED: io_uring is not to be had here: {e}")).ok()?;
        let (_, orders) = crossbeam_channel::bounded(1);
        let (reports, _) = crossbeam_channel::bounded(1);
        let (gather, sending, figures) = (Duration::from_millis(1), sends(sending), Arc::default());
        Some(Thread { gather, orders, reports, arrivals, sending, figures }.begin())
    }

    fn is_by_ring(rounds: &Rounds) -> [bool; 3] {
        let Rounds { arrivals, works, .. } = rounds;
        [arrivals.is_by_ring(), works.sender.is_by_ring(), works.out.figures.is_by_ring()]
    }

    #[test]
    fn it_goes_by_a_ring_both_ways_or_neither_and_says_so() {
        let Some(one_way) = rounds(|_| None) else { return };
        assert_eq!(is_by_ring(&one_way), [false; 3]);
        let lose: [fn(&mut Rounds); 2] =
            [|rounds| rounds.give_up_ring(), |rounds| rounds.works.sender.give_up_ring()];
        for lose in lose {
            let mut rounds = rounds(Some).unwrap();
            assert_eq!(is_by_ring(&rounds), [true; 3]);
            lose(&mut rounds);
            rounds.agree();
            assert_eq!(is_by_ring(&rounds), [false; 3]);
        }
    }
}
