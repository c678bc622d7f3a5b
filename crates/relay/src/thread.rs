//! The thread: one round after the other, each as long as [`gather`](crate::RelayConfig::gather) at least.
//!
//! ```text
//!  a round   sleep until something comes ─ orders ─ read all ports ─ replay ─ send ─ keep ─ tell ─ rest
//! ```

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender as Channel, TryRecvError};
use datagrams::{Batch, Expected, Left};
use media::relay::{By, EndId, Outgoing, REPLAY_EVERY_NS, Sends, Which, Why};
use model::WallTime;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use crate::call::Call;
use crate::clock::{Clock, Reading};
use crate::figures::Figures;
use crate::sending::{Sender, TeeSockets};
use crate::{Memory, Order, Report, Said};

/// Ports that one look at epoll names; with more ready ones it is asked again at once.
const EVENTS: usize = 1_024;
/// Looks at epoll in a round: 32,768 ports, more than a process has.
const LOOKS_MAX: usize = 32;
/// Batches that a port may bring in a round: with 1 ms, over 60,000 packets a second. The rest waits for the next round,
/// so that none starves the others.
const BATCHES_MAX: usize = 4;
/// How often a recorder in this process is told that time passes.
const PASS_EVERY: Duration = Duration::from_millis(100);
/// How long it sleeps when nothing comes.
const IDLE: u16 = 100;
/// What epoll says when an order waits.
const ORDERED: u64 = u64::MAX;

/// What can fail is done; what is of the thread alone it makes itself.
pub(crate) struct Thread {
    gather: Duration,
    orders: Receiver<Order>,
    wake: Arc<EventFd>,
    epoll: Epoll,
    out: Out,
    calls: Calls,
}

/// The calls, by slot.
#[derive(Default)]
struct Calls {
    slots: Vec<Option<Box<Call>>>,
    free: Vec<usize>,
    by_number: BTreeMap<u64, usize>,
    /// Slots of which something is replayed.
    replaying: Vec<usize>,
}

/// The ways out of the thread.
struct Out {
    tees: TeeSockets,
    reports: Channel<Report>,
    figures: Arc<Figures>,
    told: u64,
}

/// What is used again and again.
struct Buffers {
    sends: Sends,
    sender: Sender,
    batch: Batch,
    /// System calls that read.
    readings: u64,
    events: Vec<EpollEvent>,
    /// Ports that brought more than was read: epoll tells only of news.
    unread: Vec<u64>,
    /// Datagrams since the batch was last carried out, the sum of their arrivals (after `base`), and the first.
    came: u64,
    arrivals: i64,
    first: Option<WallTime>,
    base: WallTime,
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
    pub(crate) fn prepare(
        gather: Duration,
        orders: Receiver<Order>,
        reports: Channel<Report>,
        wake: Arc<EventFd>,
        figures: Arc<Figures>,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, ORDERED))?;
        let out = Out { tees: TeeSockets::open(), reports, figures, told: 0 };
        Ok(Self { gather, orders, wake, epoll, out, calls: Calls::default() })
    }

    pub(crate) fn run(mut self) {
        let clock = Clock::new();
        let mut buffers = Buffers {
            sends: Sends::default(),
            sender: Sender::new(),
            batch: Batch::default(),
            readings: 0,
            events: vec![EpollEvent::empty(); EVENTS],
            unread: Vec::new(),
            came: 0,
            arrivals: 0,
            first: None,
            base: WallTime(0),
        };
        let mut passing = Passing { since: Instant::now(), next: 0 };
        loop {
            let ready = self.wait(&mut buffers);
            let woke = Instant::now();
            let time = clock.read();
            buffers.base = time.now;
            if !self.take_orders(&mut buffers, time.now) {
                return;
            }
            self.receive(ready, &mut buffers, &clock, time);
            self.replay(&mut buffers, time.now);
            self.carry_out(&mut buffers, &clock);
            passing.go_on(&mut self.calls.slots, time.now);
            self.tell(&mut buffers);
            std::thread::sleep(self.gather.saturating_sub(woke.elapsed()));
        }
    }

    /// Sleeps until something comes; says how many ports have something.
    fn wait(&self, buffers: &mut Buffers) -> usize {
        let timeout = if !buffers.unread.is_empty() {
            0
        } else if self.calls.replaying.is_empty() {
            IDLE
        } else {
            u16::try_from(REPLAY_EVERY_NS / 1_000_000).unwrap_or(IDLE)
        };
        self.epoll.wait(&mut buffers.events, EpollTimeout::from(timeout)).unwrap_or(0)
    }

    /// False when there is nothing more to do for good.
    fn take_orders(&mut self, buffers: &mut Buffers, now: WallTime) -> bool {
        let _ = self.wake.read();
        loop {
            match self.orders.try_recv() {
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Ok(order) => self.calls.carry_out(order, now, &self.epoll, &mut self.out, buffers),
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn receive(&mut self, ready: usize, buffers: &mut Buffers, clock: &Clock, time: Reading) {
        for port in std::mem::take(&mut buffers.unread) {
            self.read(port, buffers, clock, time);
        }
        let mut named = ready;
        for _ in 0..LOOKS_MAX {
            for event in 0..named {
                let port = buffers.events.get(event).map_or(ORDERED, EpollEvent::data);
                if port != ORDERED {
                    self.read(port, buffers, clock, time);
                }
            }
            if named < EVENTS {
                return;
            }
            named = self.epoll.wait(&mut buffers.events, EpollTimeout::ZERO).unwrap_or(0);
        }
    }

    fn read(&mut self, port: u64, buffers: &mut Buffers, clock: &Clock, time: Reading) {
        let (slot, end, which) = unpack(port);
        let Some(call) = self.calls.slots.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        let (Some(id), number) = (call.end(end), call.number) else { return };
        let Some((socket, is_v6, relay)) = call.receiving(end, which) else { return };
        let Buffers { sends, batch, readings, unread, came, arrivals, first, base, .. } = buffers;
        sends.begin(u32::try_from(slot).unwrap_or(u32::MAX));
        let out = &mut self.out;
        let taken = batch.read(socket, is_v6, (Expected::One, BATCHES_MAX), &mut |datagram| {
            let at = datagram.at.map_or(time.now, |at| time.at(at));
            *came += 1;
            *arrivals = arrivals.saturating_add(at.nanos_since(*base));
            *first = Some(first.map_or(at, |f| f.min(at)));
            if let Err(Why::Stun | Why::Dtls) =
                relay.receive(at, (id, which), datagram.from, datagram.bytes, sends)
            {
                let (from, datagram) = (datagram.from, datagram.bytes.to_vec());
                out.tell(number, Said::Knocked { end: id, which, from, datagram });
            }
            while let Some(told) = relay.poll_event() {
                out.tell(number, Said::Event(told));
            }
        });
        *readings += taken.calls;
        if taken.left == Left::Something {
            unread.push(port);
        }
        if buffers.sends.is_full() {
            self.carry_out(buffers, clock);
        }
    }

    fn replay(&mut self, buffers: &mut Buffers, now: WallTime) {
        let Calls { slots, replaying, .. } = &mut self.calls;
        replaying.retain(|slot| {
            let Some(call) = slots.get_mut(*slot).and_then(Option::as_deref_mut) else { return false };
            // What is more than a batch holds is sent in the next round.
            if !buffers.sends.is_full() {
                buffers.sends.begin(u32::try_from(*slot).unwrap_or(u32::MAX));
                call.relay.replay(now, &mut buffers.sends);
            }
            call.relay.next_timeout().is_some()
        });
    }

    /// Forwards, then tees, then keeps.
    fn carry_out(&mut self, buffers: &mut Buffers, clock: &Clock) {
        let Buffers { sends, sender, .. } = buffers;
        let forwards = sends.forwards();
        let sent = sender.sent;
        for run in forwards.chunk_by(|a, b| (a.tag, a.by) == (b.tag, b.by)) {
            let Some(By::End(end, which)) = run.first().map(|o| o.by) else { continue };
            match self.calls.of(run).and_then(|call| call.port(end.index(), which)) {
                Some((socket, _)) => sender.send(socket, sends, run),
                None => sender.unsent += run.len() as u64,
            }
        }
        let forwarded = sender.sent - sent;
        let figures = &self.out.figures;
        add(&figures.forwarded, forwarded);
        if buffers.came > 0 {
            let now = clock.read().now;
            let since = now.nanos_since(buffers.base);
            let count = i64::try_from(buffers.came).unwrap_or(i64::MAX);
            let all = since.saturating_mul(count).saturating_sub(buffers.arrivals);
            add(&figures.delay_ns, u64::try_from(all).unwrap_or(0));
            let most = buffers.first.map_or(0, |first| now.nanos_since(first));
            figures.delay_max_ns.fetch_max(u64::try_from(most).unwrap_or(0), Ordering::Relaxed);
        }
        let sent = sender.sent;
        for run in sends.tees().chunk_by(|a, b| a.to.is_ipv4() == b.to.is_ipv4()) {
            match run.first().and_then(|o| self.out.tees.towards(o.to)) {
                Some(socket) => sender.send(socket, sends, run),
                None => sender.unsent += run.len() as u64,
            }
        }
        add(&figures.teed, sender.sent - sent);
        for kept in sends.kept() {
            let slot = usize::try_from(kept.tag).unwrap_or(usize::MAX);
            if let Some(call) = self.calls.slots.get_mut(slot).and_then(Option::as_deref_mut) {
                call.keep(kept, sends);
            }
        }
        add(&figures.kept, sends.kept().len() as u64);
        add(&figures.received, std::mem::take(&mut buffers.came));
        (buffers.arrivals, buffers.first) = (0, None);
        buffers.sends.clear();
    }

    fn tell(&mut self, buffers: &mut Buffers) {
        let figures = &self.out.figures;
        add(&figures.unsent, std::mem::take(&mut buffers.sender.unsent));
        let calls = std::mem::take(&mut buffers.sender.calls) + std::mem::take(&mut buffers.readings);
        add(&figures.system_calls, calls);
        add(&figures.untold, std::mem::take(&mut self.out.told));
    }
}

impl Calls {
    fn of(&self, run: &[Outgoing]) -> Option<&Call> {
        let slot = usize::try_from(run.first()?.tag).ok()?;
        self.slots.get(slot)?.as_deref()
    }

    fn get(&mut self, number: u64) -> Option<(usize, &mut Call)> {
        let slot = *self.by_number.get(&number)?;
        Some((slot, self.slots.get_mut(slot)?.as_deref_mut()?))
    }

    fn carry_out(
        &mut self,
        order: Order,
        now: WallTime,
        epoll: &Epoll,
        out: &mut Out,
        buffers: &mut Buffers,
    ) {
        match order {
            Order::Add { call, new } => self.add(Call::new(call, *new), epoll, out),
            Order::Change { call, end, open } => {
                if let Some((_, found)) = self.get(call)
                    && let Err(why) = found.relay.change(end, &open)
                {
                    out.tell(call, Said::Refused { end, why });
                }
            }
            Order::Tee { call, end, place, to } => {
                let Some((slot, found)) = self.get(call) else { return };
                let to = to.as_ref().map(|(recorder, beginning)| (&**recorder, *beginning));
                match found.relay.tee(now, end, place, to) {
                    Ok(Some(replayed)) => {
                        self.replaying.retain(|other| *other != slot);
                        self.replaying.push(slot);
                        out.tell(call, Said::Replaying { end, replayed });
                    }
                    Ok(None) => {}
                    Err(why) => out.tell(call, Said::Refused { end, why }),
                }
            }
            Order::Record { call, recording } => {
                if let Some((_, found)) = self.get(call) {
                    found.relay.record(recording);
                }
            }
            Order::Remember { call, memory } => match (self.get(call), memory) {
                (Some((_, found)), Memory::Held) => found.relay.hold(now),
                (Some((_, found)), Memory::Released) => found.relay.release(),
                (None, _) => {}
            },
            Order::Remove { call } => self.remove(call, out, buffers),
            Order::Stop => {}
        }
    }

    fn add(&mut self, call: Call, epoll: &Epoll, out: &mut Out) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        for (end, which, fd) in call.ports() {
            // Edge-triggered: no port is asked a second time whether it is empty now.
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, pack(slot, end, which));
            if epoll.add(fd, event).is_err() {
                out.tell(call.number, Said::Unwatched { end, which });
            }
        }
        self.by_number.insert(call.number, slot);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Box::new(call));
        }
        out.figures.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&mut self, number: u64, out: &mut Out, buffers: &mut Buffers) {
        let Some(slot) = self.by_number.remove(&number) else { return };
        let Some(mut call) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        self.replaying.retain(|other| *other != slot);
        buffers.unread.retain(|port| unpack(*port).0 != slot);
        let ends: Vec<EndId> = call.relay.ends().collect();
        let counts = ends.into_iter().filter_map(|end| Some((end, call.relay.close(end)?))).collect();
        out.tell(number, Said::Removed(counts));
        out.figures.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Out {
    fn tell(&mut self, call: u64, said: Said) {
        if self.reports.try_send(Report { call, said }).is_err() {
            self.told += 1;
        }
    }
}

fn add(to: &std::sync::atomic::AtomicU64, count: u64) {
    if count > 0 {
        to.fetch_add(count, Ordering::Relaxed);
    }
}

/// Slot, end and port in the 64 bits that epoll gives back.
fn pack(slot: usize, end: usize, which: Which) -> u64 {
    (slot as u64) << 16 | (end as u64 & 0x7fff) << 1 | u64::from(which == Which::Rtcp)
}

fn unpack(data: u64) -> (usize, usize, Which) {
    let slot = usize::try_from(data >> 16).unwrap_or(usize::MAX);
    let end = usize::try_from((data >> 1) & 0x7fff).unwrap_or(usize::MAX);
    (slot, end, if data & 1 == 1 { Which::Rtcp } else { Which::Rtp })
}
