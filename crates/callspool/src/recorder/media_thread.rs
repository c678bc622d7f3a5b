//! A media thread: takes packets off its source on a tick and hands full buffers to the writer.
//!
//! ```text
//!  every 5 ms    source ── datagrams ── stream ── receiver ── segment buffer
//!  every 100 ms  for each segment (spread over the ticks): reorder windows, flush ──► writer thread
//! ```
//!
//! Waking on a tick costs less than waking per packet; times of arrival are the kernel's. For a segment that begins it
//! is woken between ticks, because a client waits for its answer. The thread never
//! writes a file and never waits for anybody: what the writer cannot take is counted as dropped, and told. Each
//! volume has a writer of its own, so a disk that stands still delays its own segments only.

mod orders;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use model::{EndReason, Incident, Mono, Now, OpenStream, PauseSource, Report, SegmentId, TakeOver};
use spool::FileOp;

use super::delay::Sampling;
use super::listening::Listening;
use super::live::{Aside, Changed, LiveSegment, Looks};
use super::ports::Berths;
use super::resting::Resting;
use super::seats::Seats;
use super::source::{Coming, Left, Prepared};
use super::tell::Teller;
use super::threads::Bell;
use super::writer::{Job, Ops, Then};
use crate::clock::now;
use crate::descriptors::of_ports;
use crate::pulse::Pulse;
use crate::volumes::Volumes;
pub(crate) use orders::{MediaConfig, MediaOrder, Shared};
use state::{End, Foretold, State, concerns, forget, watch};

/// Orders that are carried out together: two hundred thousand a second, on a tick of 5 ms.
const ORDERS_MAX: usize = 1_024;
/// How often what has come is taken at most before orders that need all of it: over 1,000 datagrams of a socket, more than
/// its buffer in the kernel holds.
const TAKINGS_MAX: usize = 16;
/// Datagrams after which the clock is read again: a millisecond's work, or less.
const TIMED_ANEW: u32 = 256;
/// Ends that arrive before their segment (the dialog went while it opened) and are kept for it.
const EARLY_ENDS_MAX: usize = 4_096;
/// How long such an end is kept. An order to open is refused long before.
const EARLY_END_KEPT: Duration = Duration::from_secs(60);

/// How often it is looked at which shared pairs of ports have rested, for a minute and more.
const CLOSE_EVERY: Duration = Duration::from_secs(1);

/// A flush takes longer than memory: two of them are ample.
const FLUSHES_AHEAD: usize = 2;

pub(crate) struct MediaThread {
    pub(crate) config: MediaConfig,
    pub(crate) orders: Receiver<MediaOrder>,
    /// Wakes it for what cannot wait until the next tick.
    pub(crate) bell: Bell,
    pub(crate) volumes: Volumes,
    /// The way to the writer of each volume.
    pub(crate) writers: Vec<Sender<Vec<Job>>>,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) ports: Berths,
    pub(crate) shared: Arc<Shared>,
    pub(crate) resting: Arc<Resting>,
    pub(crate) teller: Teller,
    pub(crate) listening: Listening,
    pub(crate) pulse: Pulse,
}

impl MediaThread {
    /// Runs until its orders end or it is stopped with nothing live.
    pub(crate) fn run(self, source: Prepared) {
        self.bell.hang();
        let mut state = State {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            early_ends: BTreeMap::new(),
            late_ends: Vec::new(),
            unsent: VecDeque::new(),
            source: source.begin(),
            seats: Seats::default(),
            aside: Aside::default(),
            sampling: Sampling::default(),
            emptied: Mono::ZERO,
            closed: Mono::ZERO,
            orders: Vec::new(),
            jobs: self.writers.iter().map(|_| Vec::new()).collect(),
            ops: Vec::new(),
            spare: Vec::new(),
            rtcp: Vec::with_capacity(512),
            listeners: Some(self.listening.changes()),
        };
        let buckets = bucket_count(&self.config);
        let mut due: Vec<Mono> = first_due(&self.config, buckets);
        loop {
            let began = now();
            self.pulse.goes_on_at(began.mono);
            if !self.take_orders(&mut state) {
                return self.send_jobs(&mut state);
            }
            self.look_for_listeners(&mut state);
            self.receive(&mut state);
            for (bucket, at) in due.iter_mut().enumerate() {
                if *at <= began.mono {
                    self.flush_bucket(&mut state, bucket, buckets, began);
                    *at = (*at + self.config.flush).max(began.mono);
                }
            }
            self.send_jobs(&mut state);
            self.send_reports(&mut state);
            for (segment, end) in std::mem::take(&mut state.late_ends) {
                self.end_when_told(&mut state, segment, end);
            }
            self.close_rested(&mut state, began.mono);
            state.early_ends.retain(|_, (since, _)| began.mono.since(*since) < EARLY_END_KEPT);
            if !self.rest(&mut state, began.mono) {
                return self.send_jobs(&mut state);
            }
        }
    }

    /// Sleeps until the next tick. Who is woken before takes orders, and sleeps on; false when there is nothing more to
    /// do for good.
    fn rest(&self, state: &mut State, began: Mono) -> bool {
        loop {
            std::thread::park_timeout(self.config.tick.saturating_sub(now().mono.since(began)));
            if now().mono.since(began) >= self.config.tick {
                return true;
            }
            if !self.take_orders(state) {
                return false;
            }
            self.send_reports(state);
        }
    }

    /// Carries out what is ordered; false when there is nothing more to do for good.
    fn take_orders(&self, state: &mut State) -> bool {
        let mut orders = std::mem::take(&mut state.orders);
        let mut is_over = false;
        while orders.len() < ORDERS_MAX {
            match self.orders.try_recv() {
                Ok(order) => orders.push(order),
                Err(e) => {
                    let is_stopping = self.shared.stopping.load(Ordering::Relaxed) && orders.is_empty();
                    is_over = e == TryRecvError::Disconnected || (is_stopping && state.by_id.is_empty());
                    break;
                }
            }
        }
        let received = now().mono;
        for order in orders.drain(..) {
            self.empty_for(state, &order, received);
            self.carry_out(state, order);
        }
        state.orders = orders;
        !is_over
    }

    /// Takes what has come before an order that needs it, once for all that were received together. What the order pauses
    /// keeps nothing of that.
    fn empty_for(&self, state: &mut State, order: &MediaOrder, received: Mono) {
        if let MediaOrder::Change { segment, streams } = order
            && let Some(live) = state.live(*segment)
        {
            live.pause_streams(now(), streams);
        }
        if order.needs_all() && state.emptied <= received {
            self.empty(state);
        }
    }

    /// Takes all that has come until now, of those who flood as much as waits in the kernel.
    fn empty(&self, state: &mut State) {
        let began = now().mono;
        for _ in 0..TAKINGS_MAX {
            if self.receive(state) == Left::Nothing {
                break;
            }
        }
        state.emptied = state.emptied.max(began);
    }

    /// Listeners came or went: tells the segments. Who looks there at this moment is not waited for.
    fn look_for_listeners(&self, state: &mut State) {
        let changes = self.listening.changes();
        if state.listeners == Some(changes) {
            return;
        }
        let Some(of) = self.listening.look() else { return };
        for live in state.slots.iter_mut().flatten() {
            live.taps = of(live.writer.record().call);
        }
        state.listeners = Some(changes);
    }

    fn carry_out(&self, state: &mut State, order: MediaOrder) {
        match order {
            MediaOrder::Add(live) => self.add(state, live),
            MediaOrder::Change { segment, streams } => self.change(state, segment, &streams),
            MediaOrder::Annotate { segment, data, metadata } => {
                if let Some(live) = state.live(segment) {
                    live.writer.annotate(now(), data, metadata);
                    self.tell(live);
                }
            }
            MediaOrder::Pause { segment, order, by } => {
                if let Some(live) = state.live(segment) {
                    live.pause(now(), by);
                    self.tell(live);
                }
                // A segment that is not here keeps nothing either.
                state.unsent.push_back(Report::CarriedOut { segment, order });
            }
            MediaOrder::Resume { segment, order, by } => {
                self.resume(state, segment, by);
                state.unsent.push_back(Report::CarriedOut { segment, order });
            }
            MediaOrder::Keys { segment, order, stream, protection } => {
                let State { slots, by_id, .. } = &mut *state;
                let slot = by_id.get(&segment).and_then(|s| slots.get_mut(*s));
                if let Some(live) = slot.and_then(Option::as_deref_mut) {
                    live.keyed(now(), stream, protection);
                }
                state.unsent.push_back(Report::CarriedOut { segment, order });
            }
            MediaOrder::End { segment, at, reason, by } => {
                let end = End { at, reason, by };
                if state.by_id.contains_key(&segment) {
                    self.end_when_told(state, segment, end);
                } else if state.early_ends.len() < EARLY_ENDS_MAX {
                    state.early_ends.insert(segment, (now().mono, end));
                } else {
                    tracing::error!(%segment, "too many segments end before they begin");
                }
            }
            MediaOrder::NeverCame(segment) => {
                state.early_ends.remove(&segment);
            }
            MediaOrder::Failed(segment) => {
                // Another takes over, or the front ends it; until then nothing more is buffered for a disk that does not
                // take it. What is buffered goes where the rest of it is kept.
                if let Some(live) = state.live(segment) {
                    live.suspend();
                }
            }
            MediaOrder::Shaken { segment, door, peer, said } => {
                if let Some(live) = state.live_at(segment, door) {
                    live.shaken(now(), door, peer, said);
                }
            }
            MediaOrder::Recycle(buffers) => state.keep(buffers),
        }
    }

    fn add(&self, state: &mut State, mut live: Box<LiveSegment>) {
        let id = live.id;
        if let Some(failed) = live.takes_over.take() {
            self.take_over(state, &mut live, failed);
        }
        live.go_on_with(&self.resting);
        match self.listening.look() {
            Some(of) => live.taps = of(live.writer.record().call),
            None => state.listeners = None,
        }
        // Told here, so that no end of it can be told before.
        state.unsent.push_back(Report::Opened { segment: id, ports: live.ports() });
        let slot = state.free.pop().unwrap_or_else(|| {
            state.slots.push(None);
            state.slots.len() - 1
        });
        watch((&mut state.source, &mut state.seats), &self.teller, (slot, &live), 0..live.streams.len());
        state.by_id.insert(id, slot);
        if let Some(place) = state.slots.get_mut(slot) {
            *place = Some(live);
        }
        if let Some((_, end)) = state.early_ends.remove(&id) {
            self.empty(state);
            self.end_when_told(state, id, end);
        }
    }

    /// Moves the sockets of a segment that failed to the one that takes over, and ends it.
    fn take_over(&self, state: &mut State, live: &mut LiveSegment, failed: TakeOver) {
        let now = now();
        // It may have ended by itself meanwhile; then the dialog is over, and an end of this one is on its way.
        if let Some(mut old) = state.remove(failed.segment) {
            live.inherit(now, &mut old, &mut state.aside);
            let end = End { at: now.wall, reason: failed.reason, by: None };
            self.end(state, old, end);
        }
        let wanted = live.wanted();
        let Changed { had, .. } = self.change_streams(state, live, &wanted);
        if let Err(why) = had {
            let (record, id) = (live.writer.record(), Some(live.id));
            let text = format!("a segment took over without all of its streams: {}", why.describe());
            self.teller.alarm(&record.tenant, Incident::NotRecorded, Some(record.call), id, text);
        }
    }

    /// Gives a segment the streams that are wanted.
    fn change_streams(&self, state: &mut State, live: &mut LiveSegment, wanted: &[OpenStream]) -> Changed {
        let before = live.ports_held();
        let wants = of_ports(live.fresh_among(wanted));
        // Nothing new is had without descriptors; the rest of the change is carried out all the same.
        let granted = self.shared.reserve(wants, self.config.descriptors_max);
        let reserved = if granted.is_ok() { wants } else { 0 };
        let ports = granted.map(|()| &self.ports);
        let changed = live.change(now(), wanted, ports, &mut state.aside);
        forget((&mut state.source, &mut state.seats), &changed.gone);
        self.shared.release((before + reserved).saturating_sub(live.ports_held()));
        changed
    }

    /// Ends a segment, once what there is to report of it has been sent: the sealer's report must not overtake it.
    fn end_when_told(&self, state: &mut State, segment: SegmentId, end: End) {
        self.send_reports(state);
        if state.unsent.iter().any(|r| concerns(r, segment)) {
            state.late_ends.push((segment, end));
        } else if let Some(live) = state.remove(segment) {
            self.end(state, live, end);
        }
    }

    fn resume(&self, state: &mut State, segment: SegmentId, by: PauseSource) {
        let State { slots, by_id, .. } = state;
        let slot = by_id.get(&segment).and_then(|s| slots.get_mut(*s));
        if let Some(live) = slot.and_then(Option::as_deref_mut) {
            live.resume(now(), by);
            self.tell(live);
        }
    }

    fn change(&self, state: &mut State, segment: SegmentId, streams: &[OpenStream]) {
        let Some(slot) = state.by_id.get(&segment).copied() else { return };
        let Some(mut live) = state.slots.get_mut(slot).and_then(Option::take) else { return };
        let changed = self.change_streams(state, &mut live, streams);
        watch((&mut state.source, &mut state.seats), &self.teller, (slot, &live), changed.watch);
        // First those who have all that they want, so that a refusal finds those who have not.
        state.unsent.push_back(Report::Opened { segment, ports: live.ports() });
        if let Err(why) = changed.had {
            state.unsent.push_back(Report::Refused { segment, why });
        }
        self.tell(&live);
        if let Some(place) = state.slots.get_mut(slot) {
            *place = Some(live);
        }
    }

    /// Takes what has come; whether that was all.
    fn receive(&self, state: &mut State) -> Left {
        let began = now();
        let State { source, seats, slots, aside, sampling, .. } = state;
        let (mut now, mut seen, mut lost, mut unclaimed) = (began, 0_u32, 0, 0);
        let mut foretold = Foretold::default();
        let (packets, left) = source.take_foretold(began.wall, &mut |coming| {
            let (key, datagram) = match coming {
                Coming::Now(key, datagram) => (key, datagram),
                Coming::Soon(key) => return foretold.fetch(slots, key),
            };
            seen = seen.wrapping_add(1);
            if seen.is_multiple_of(TIMED_ANEW) {
                now = crate::clock::now();
            }
            let whose = if key.is_shared() { seats.owner(key, datagram.from) } else { Some(key) };
            let Some(key) = whose else {
                unclaimed += 1;
                return;
            };
            if let Some(Some(live)) = slots.get_mut(key.slot())
                && !live.take(now, key, &datagram, aside)
            {
                lost += 1;
                self.tell_drop(live);
            }
            sampling.pass(datagram.at, &self.shared.delays);
        });
        if left == Left::Nothing {
            state.emptied = began.mono;
        }
        lost += source.missed();
        self.shared.packets.fetch_add(packets, Ordering::Relaxed);
        self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        self.shared.unclaimed.fetch_add(unclaimed, Ordering::Relaxed);
        left
    }

    fn flush_bucket(&self, state: &mut State, bucket: usize, buckets: usize, now: Now) {
        let State { slots, jobs, ops, spare, rtcp, unsent, .. } = state;
        for slot in (bucket..slots.len()).step_by(buckets) {
            fetch_ahead(slots, slot, buckets);
            let Some(Some(live)) = slots.get_mut(slot) else { continue };
            let looks = live.tick(now);
            if looks == Looks::Now {
                live.report(now, &self.config.cname, rtcp);
            }
            let volume = self.volumes.get(live.volume);
            if volume.is_some_and(|v| v.is_behind()) {
                self.drop_buffered(live);
            } else {
                live.flush(now, spare, ops);
            }
            if !ops.is_empty() {
                self.push_job(jobs, (live.id, live.volume), ops.drain(..).collect(), Then::Recycle);
            }
            if looks == Looks::Now {
                live.look(now.mono, &self.shared.thresholds, &self.teller);
                if live.times_out(now.mono, self.config.media_timeout) {
                    unsent.push_back(Report::MediaTimedOut { segment: live.id });
                }
            }
        }
    }

    /// Closes shared pairs of ports that have rested.
    fn close_rested(&self, state: &mut State, now: Mono) {
        if now.since(state.closed) < CLOSE_EVERY {
            return;
        }
        state.closed = now;
        for (id, pair) in self.ports.rested() {
            pair.sockets().for_each(|socket| state.source.forget(socket));
            state.seats.close(id);
        }
    }

    /// Throws a segment's buffer away because storage cannot take it: counted, and told once.
    fn drop_buffered(&self, live: &mut LiveSegment) {
        let lost = live.writer.drop_buffered();
        self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        if lost > 0 {
            self.tell_drop(live);
        }
    }

    /// Tells once of a segment that media of it are dropped.
    fn tell_drop(&self, live: &mut LiveSegment) {
        if live.first_drop() {
            let text = "media are dropped because the disk does not take them; the gaps are in the recording";
            let (record, segment) = (live.writer.record(), Some(live.id));
            self.teller.alarm(&record.tenant, Incident::Storage, Some(record.call), segment, text.to_owned());
        }
    }

    fn tell(&self, live: &LiveSegment) {
        self.teller.segment(live.writer.record().clone(), live.writer.directory().to_owned());
    }

    fn end(&self, state: &mut State, mut live: Box<LiveSegment>, end: End) {
        let now = now();
        live.finish(now, &mut state.aside);
        if end.reason != EndReason::HangUp {
            live.rest(now.mono, &self.resting);
        }
        let records = live.records();
        let at = live.at(now, end.at);
        live.writer.stopped_by(end.by);
        live.writer.end(now, at, end.reason, records, &mut state.ops);
        let freed = live.ports_held();
        if let Some(volume) = self.volumes.get(live.volume) {
            volume.end(live.id);
            if volume.is_lost() {
                // Its sealer may never come to it: this is what is known until it does.
                self.teller.segment_with_copy(live.writer.record(), live.writer.directory());
            }
        }
        let LiveSegment { id, volume, writer, streams, .. } = *live;
        let State { jobs, ops, .. } = &mut *state;
        self.push_job(jobs, (id, volume), ops.drain(..).collect(), Then::Seal(Box::new(writer)));
        forget((&mut state.source, &mut state.seats), streams.iter().filter_map(|s| s.sockets()));
        drop(streams);
        self.shared.release(freed);
    }

    /// Adds a job for the writer of a volume, which counts as backlog from now on: that is what bounds the channel.
    fn push_job(&self, jobs: &mut [Vec<Job>], (segment, volume): (SegmentId, usize), ops: Ops, then: Then) {
        let octets = ops.iter().map(octets).sum::<usize>();
        if let Some(volume) = self.volumes.get(volume) {
            volume.backlog.fetch_add(octets, Ordering::Relaxed);
        }
        if let Some(jobs) = jobs.get_mut(volume) {
            jobs.push(Job { segment, octets, ops, then });
        }
    }

    fn send_jobs(&self, state: &mut State) {
        for (jobs, writer) in state.jobs.iter_mut().zip(&self.writers) {
            if jobs.is_empty() {
                continue;
            }
            // The next tick has about as many.
            let next = Vec::with_capacity(jobs.len());
            if writer.send(std::mem::replace(jobs, next)).is_err() {
                tracing::error!("a writer thread is gone; what is live will be repaired at the next start");
            }
        }
    }

    fn send_reports(&self, state: &mut State) {
        while let Some(report) = state.unsent.pop_front() {
            if let Err(tokio::sync::mpsc::error::TrySendError::Full(report)) = self.reports.try_send(report) {
                state.unsent.push_front(report);
                return;
            }
        }
    }
}

/// Has fetched what the next flushes ask for. Each stands where the one before has brought it.
fn fetch_ahead(slots: &[Option<Box<LiveSegment>>], slot: usize, buckets: usize) {
    let ahead = |flushes: usize| slots.get(slot + flushes * buckets).and_then(Option::as_deref);
    if let Some(live) = ahead(2 * FLUSHES_AHEAD) {
        live.fetch();
    }
    if let Some(live) = ahead(FLUSHES_AHEAD) {
        live.fetch_deeper(None);
    }
}

/// What an operation keeps in memory until it is carried out.
fn octets(op: &FileOp) -> usize {
    match op {
        FileOp::Append { bytes, .. }
        | FileOp::Create { bytes, .. }
        | FileOp::Replace { bytes, .. }
        | FileOp::Patch { bytes, .. }
        | FileOp::AppendLine { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

/// Segments are flushed in as many groups as there are ticks in a flush interval.
fn bucket_count(config: &MediaConfig) -> usize {
    let ticks = config.flush.as_nanos() / config.tick.as_nanos().max(1);
    usize::try_from(ticks).unwrap_or(1).clamp(1, 1_000)
}

fn first_due(config: &MediaConfig, buckets: usize) -> Vec<Mono> {
    let start = now().mono;
    (0..buckets).map(|b| start + config.tick.saturating_mul(u32::try_from(b).unwrap_or(0))).collect()
}
