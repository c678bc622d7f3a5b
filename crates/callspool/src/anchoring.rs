//! The relay as the signalling task has it: the machine that knows which calls go through this proxy, and the threads that
//! relay their media.
//!
//! ```text
//!  Front ──Order──► Anchors ──Order──► RecordServers
//!                      └──► ports, threads ── copies ──► record servers
//! ```
//!
//! Ports are opened by the signalling task itself: it takes microseconds, and the answer is needed at once. Threads are told by
//! queues that nobody waits for.

use std::collections::BTreeMap;
use std::io;

use call::{AnchorStep, Anchors, Copies, CopyEvent, LineOrder, NotRelayed, RelayPorts};
use media::relay::{EndId, Event, OpenEnd, Relay, Told};
use media::srtp::Entropy;
use model::peer::Family;
use model::{
    Failure, Incident, Mono, Now, Occurrence, Order, Report, SegmentId, StreamId, StreamPorts, TenantId,
};
use relay::{Memory, NewCall, NotTaken, RelayConfig, Relays, Said, Sockets};

use crate::descriptors::{RUN_OUT, is_shortage};
use crate::recorder::{PortConfig, Ports};

/// What is relayed, for whoever watches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Relayed {
    /// Streams now.
    pub(crate) streams: u64,
    /// Datagrams that came, and copies that were sent.
    pub(crate) received: u64,
    pub(crate) copied: u64,
    /// Those that the kernel did not take.
    pub(crate) unsent: u64,
    /// Datagrams that went nowhere, of streams that are over.
    pub(crate) dropped: u64,
    /// Packets that were sent a second time, to record servers that took over.
    pub(crate) replayed: u64,
}

/// See the module.
pub(crate) struct Anchoring {
    machine: Anchors<Threads>,
    tenant: TenantId,
    copies: Copies,
    /// What threads tell that a person should know.
    alarms: Vec<Occurrence>,
    dropped: u64,
    replayed: u64,
}

/// The sockets and threads.
struct Threads {
    ports: Ports,
    threads: Vec<Relays>,
    /// The one end that each stream has at its thread.
    ends: BTreeMap<StreamId, EndId>,
}

impl Anchoring {
    /// Starts so many threads.
    ///
    /// # Errors
    /// There are no threads or descriptors for them.
    pub(crate) fn start(
        ports: PortConfig,
        (threads, copies): (usize, Copies),
        tenant: TenantId,
        entropy: Entropy,
    ) -> io::Result<Self> {
        let config = |n| RelayConfig { name: format!("relay {n}"), ..RelayConfig::default() };
        let threads = (0..threads.max(1)).map(|n| Relays::start(&config(n)));
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        let threads = Threads { ports: Ports::beside(ports), threads, ends: BTreeMap::new() };
        let machine = Anchors::new(threads, entropy).with_copies(copies);
        Ok(Self { machine, tenant, copies, alarms: Vec::new(), dropped: 0, replayed: 0 })
    }

    /// Another proxy has this segment, whose media come here until its client knows.
    pub(crate) fn hand_on(&mut self, now: Now, segment: SegmentId) {
        self.machine.hand_on(now, segment);
    }

    /// Its record server says that it is over.
    pub(crate) fn is_over(&mut self, segment: SegmentId) {
        self.machine.is_over(segment);
    }

    /// Segments that were handed on and are not over.
    pub(crate) fn handed_on(&self) -> usize {
        self.machine.handed_on()
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.machine.handle_timeout(now);
    }

    /// When that should be called.
    pub(crate) fn next_timeout(&self) -> Option<Mono> {
        self.machine.next_timeout()
    }

    /// `Front` orders.
    pub(crate) fn order(&mut self, now: Now, order: Order) {
        self.machine.order(now, order);
    }

    /// A record server reports.
    pub(crate) fn reported(&mut self, now: Now, report: Report) {
        self.machine.reported(now, report);
    }

    /// Nobody said whether a segment is opened.
    pub(crate) fn unanswered(&mut self, open: Box<model::OpenSegment>) {
        self.machine.unanswered(open);
    }

    /// What becomes of a second copy.
    pub(crate) fn copy_changed(&mut self, event: &CopyEvent) {
        self.machine.copy_changed(event);
    }

    /// The next thing to do.
    pub(crate) fn poll_step(&mut self) -> Option<AnchorStep> {
        self.machine.poll_step()
    }

    /// What a person should know, as far as threads have told.
    pub(crate) fn poll_alarm(&mut self) -> Option<Occurrence> {
        self.listen();
        self.alarms.pop()
    }

    /// How many copies there are of each segment.
    pub(crate) const fn copies(&self) -> Copies {
        self.copies
    }

    /// What is relayed.
    pub(crate) fn relayed(&mut self) -> Relayed {
        let mut all = Relayed { dropped: self.dropped, replayed: self.replayed, ..Relayed::default() };
        for thread in &self.machine.relay().threads {
            let figures = thread.figures();
            all.streams += figures.calls();
            all.received += figures.received();
            all.copied += figures.teed();
            all.unsent += figures.unsent();
        }
        all
    }

    /// Takes what threads tell; what a stream is like its record server tells. One that tells something may take orders.
    fn listen(&mut self) {
        self.machine.close_again();
        let mut told = Vec::new();
        for thread in &self.machine.relay().threads {
            told.extend(thread.reports().try_iter());
        }
        for relay::Report { call, said } in told {
            let stream = StreamId::from_u64(call);
            match said {
                Said::Replaying { replayed, .. } => {
                    self.replayed += replayed.packets;
                    tracing::info!(%stream, packets = replayed.packets, "replayed to the record server that takes over");
                }
                Said::Event(Told { event: Event::Missed { .. }, .. }) => {
                    self.alarm(format!(
                        "a record server was not sent all of stream {stream} that is replayed"
                    ));
                }
                Said::Refused { why, .. } => {
                    self.alarm(format!("stream {stream} is not relayed as it should be: {why}"))
                }
                Said::Unwatched { .. } => {
                    self.alarm(format!(
                        "stream {stream} is not relayed: the kernel has no memory to tell of what comes"
                    ));
                }
                Said::Removed(ends) => {
                    for (_, counts) in ends {
                        self.dropped += counts.malformed + counts.strangers + counts.too_many;
                    }
                }
                Said::Event(_) | Said::Knocked { .. } => {}
            }
        }
    }

    fn alarm(&mut self, text: String) {
        let (tenant, incident) = (self.tenant.clone(), Incident::InternalFailure);
        self.alarms.push(Occurrence { tenant, incident, call: None, segment: None, text });
    }
}

impl Threads {
    fn of(&self, stream: StreamId) -> Result<&Relays, NotRelayed> {
        let count = u64::try_from(self.threads.len()).unwrap_or(1).max(1);
        let place = usize::try_from(stream.as_u64() % count).unwrap_or(0);
        self.threads.get(place).ok_or_else(|| NotRelayed::Never("it has no threads".to_owned()))
    }
}

impl RelayPorts for Threads {
    fn open(&mut self, stream: StreamId, family: Family, end: OpenEnd) -> Result<StreamPorts, Failure> {
        let [(rtp, told_rtp), (rtcp, told_rtcp)] = self.ports.pair(family).map_err(|e| {
            let why = if is_shortage(&e) { RUN_OUT.to_owned() } else { format!("no port of the relay: {e}") };
            Failure::Resources(why)
        })?;
        let refused = |why: String| Failure::Resources(format!("a stream cannot be relayed: {why}"));
        let ours = [rtp.local_addr().ok(), rtcp.local_addr().ok()];
        let mut relay = Relay::default();
        let id = relay.open(&OpenEnd { ours, ..end }).map_err(|e| refused(e.to_string()))?;
        let sockets = vec![(id, Sockets { rtp, rtcp: Some(rtcp) })];
        let thread = self.of(stream).map_err(|e| refused(e.to_string()))?;
        thread
            .add(stream.as_u64(), NewCall { relay, sockets, keep: None })
            .map_err(|e| refused(e.to_string()))?;
        self.ends.insert(stream, id);
        Ok(StreamPorts { stream, rtp: told_rtp, rtcp: told_rtcp, is_stuck: false })
    }

    fn carry_out(&mut self, stream: StreamId, order: LineOrder) -> Result<(), NotRelayed> {
        let none = || NotRelayed::Never("it has no such stream".to_owned());
        let end = *self.ends.get(&stream).ok_or_else(none)?;
        let (thread, call) = (self.of(stream)?, stream.as_u64());
        let taken = match order {
            LineOrder::Change(open) => thread.change(call, end, *open),
            LineOrder::Tee(recorder, beginning) => thread.tee(call, end, 0, Some((recorder, beginning))),
            LineOrder::TeeSecond(to) => thread.tee(call, end, 1, to),
            LineOrder::Record(recording) => thread.record(call, recording),
            LineOrder::Hold => thread.remember(call, Memory::Held),
            LineOrder::Release => thread.remember(call, Memory::Released),
            LineOrder::Close => {
                let removed = thread.remove(call);
                if removed != Err(NotTaken::Full) {
                    self.ends.remove(&stream);
                }
                removed
            }
        };
        taken.map_err(|why: NotTaken| match why {
            NotTaken::Full => NotRelayed::Busy(why.to_string()),
            NotTaken::Ended => NotRelayed::Never(why.to_string()),
        })
    }
}
