//! A record server: what it does with orders, and what it says.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use model::{
    Beat, CallData, EndReason, Failure, Hello, NodeNumber, Now, OpenSegment, OpenStream, Order, PeerName,
    RecordingState, Report, Resource, Route, SegmentId, SegmentRecord, Share, Standing, StreamId,
    StreamPorts, total,
};

/// What it does with orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// It carries them out.
    Well,
    /// It opens nothing.
    Refusing,
    /// It says that it is there, and orders lie.
    Slow,
    /// It carries them out, and what it has to say of it is not heard.
    Mute,
    /// It carries them out, and does not say how it is.
    Quiet,
    /// It says nothing at all.
    Hung,
}

pub(crate) struct Node {
    pub(crate) name: PeerName,
    pub(crate) number: NodeNumber,
    pub(crate) run: u64,
    /// Whether there is a link to it.
    pub(crate) is_linked: bool,
    /// Whether its process runs.
    pub(crate) is_alive: bool,
    pub(crate) mood: Mood,
    pub(crate) standing: Standing,
    /// Thousandths of what it may have.
    pub(crate) load: u64,
    /// Orders that it has not carried out.
    lying: VecDeque<Order>,
    /// What nobody has heard of it.
    unsaid: Vec<Report>,
    pub(crate) live: BTreeMap<SegmentId, Live>,
    next_port: u16,
    beats: u64,
}

/// A segment that it records.
pub(crate) struct Live {
    open: OpenSegment,
    ports: BTreeMap<StreamId, u16>,
}

impl Node {
    pub(crate) fn new(index: u16) -> Self {
        let letter = char::from(b'a' + u8::try_from(index).unwrap());
        Self {
            name: letter.to_string().parse().unwrap(),
            number: NodeNumber::new(index + 1).unwrap(),
            run: 1,
            is_linked: false,
            is_alive: true,
            mood: Mood::Well,
            standing: Standing::Taking,
            load: 0,
            lying: VecDeque::new(),
            unsaid: Vec::new(),
            live: BTreeMap::new(),
            next_port: (index + 1) * 10_000,
            beats: 0,
        }
    }

    pub(crate) fn hello(&self) -> Hello {
        let segments = self.live.keys().copied().collect();
        Hello { name: self.name.clone(), node: self.number, run: self.run, segments }
    }

    pub(crate) fn beat(&mut self, now: Now) -> Beat {
        self.beats += 1;
        let recordings = u32::try_from(self.live.len()).unwrap();
        let loads = vec![(Resource::Cpu, Share::of(self.load, 1_000))];
        Beat {
            number: self.beats,
            at: now.wall,
            recordings,
            loads,
            standing: self.standing.clone(),
            heard: None,
        }
    }

    /// Its process ends: what it recorded is cut off.
    pub(crate) fn die(&mut self) {
        (self.is_alive, self.mood) = (false, Mood::Well);
        self.live.clear();
        self.lose_link();
    }

    /// The link is lost, and what lies in it.
    pub(crate) fn lose_link(&mut self) {
        self.is_linked = false;
        self.lying.clear();
        self.unsaid.clear();
    }

    /// An order comes; what it reports.
    pub(crate) fn take(&mut self, now: Now, order: Order) -> Vec<Report> {
        self.lying.push_back(order);
        match self.mood {
            Mood::Well | Mood::Refusing | Mood::Quiet => self.work(now),
            Mood::Mute => {
                let unsaid = self.work(now);
                self.unsaid.extend(unsaid);
                Vec::new()
            }
            Mood::Slow | Mood::Hung => Vec::new(),
        }
    }

    /// Carries out what lies.
    pub(crate) fn work(&mut self, now: Now) -> Vec<Report> {
        let mut reports = std::mem::take(&mut self.unsaid);
        while let Some(order) = self.lying.pop_front() {
            self.carry_out(now, order, &mut reports);
        }
        reports
    }

    fn carry_out(&mut self, now: Now, order: Order, reports: &mut Vec<Report>) {
        match order {
            Order::Open(open) => self.open(now, *open, reports),
            Order::Change { segment, streams } => {
                if let Some(mut live) = self.live.remove(&segment) {
                    let ports = self.ports_of(&streams, &mut live);
                    live.open.streams = streams;
                    self.live.insert(segment, live);
                    reports.push(Report::Opened { segment, ports });
                }
            }
            Order::End { segment, reason, .. } => reports.extend(self.end(now, segment, reason)),
            // Too late: it is opened, and ends as it is told to.
            Order::Withdraw { .. } => {}
            Order::Annotate { .. } | Order::Conclude(_) | Order::Join(_) => {}
            Order::Pause { segment, order, .. }
            | Order::Resume { segment, order, .. }
            | Order::Keys { segment, order, .. } => {
                if self.live.contains_key(&segment) {
                    reports.push(Report::CarriedOut { segment, order });
                }
            }
        }
    }

    fn open(&mut self, now: Now, open: OpenSegment, reports: &mut Vec<Report>) {
        let segment = open.segment;
        if self.lying.iter().any(|later| matches!(later, Order::Withdraw { segment: of } if *of == segment)) {
            self.lying.retain(|later| of_order(later) != Some(segment));
            return reports.push(Report::Withdrawn { segment });
        }
        if self.mood == Mood::Refusing {
            return reports.push(Report::Refused { segment, why: Failure::DiskFull });
        }
        let failed = open.takes_over.clone();
        let streams = open.streams.clone();
        // It may have ended by itself meanwhile.
        let before = failed.as_ref().and_then(|failed| self.live.get(&failed.segment));
        let before = before.map(|failed| failed.ports.clone());
        let mut live = Live { open, ports: before.unwrap_or_default() };
        let ports = self.ports_of(&streams, &mut live);
        self.live.insert(segment, live);
        reports.push(Report::Opened { segment, ports });
        reports.extend(failed.and_then(|failed| self.end(now, failed.segment, failed.reason)));
    }

    /// Whether a segment that it records began in a pause.
    pub(crate) fn begins_paused(&self, segment: SegmentId) -> Option<bool> {
        self.live.get(&segment).map(|live| live.open.pause.is_some())
    }

    /// Each segment that it records, with its streams: where they are received, and by which way they come.
    pub(crate) fn streams(
        &self,
    ) -> impl Iterator<Item = (SegmentId, Vec<(StreamId, SocketAddr, Route)>)> + '_ {
        self.live.iter().map(|(segment, live)| {
            let streams = live.open.streams.iter();
            let streams = streams.filter_map(|s| Some((s.stream, at(*live.ports.get(&s.stream)?), s.route)));
            (*segment, streams.collect())
        })
    }

    fn ports_of(&mut self, streams: &[OpenStream], live: &mut Live) -> Vec<StreamPorts> {
        let mut port = |stream| {
            *live.ports.entry(stream).or_insert_with(|| {
                self.next_port += 2;
                self.next_port - 2
            })
        };
        let ports = streams.iter().map(|s| (s.stream, port(s.stream)));
        ports
            .map(|(stream, port)| StreamPorts { stream, rtp: at(port), rtcp: at(port + 1), is_stuck: false })
            .collect()
    }

    /// A segment ends, if it is live.
    pub(crate) fn end(&mut self, now: Now, segment: SegmentId, reason: EndReason) -> Option<Report> {
        let Live { open, .. } = self.live.remove(&segment)?;
        let state = RecordingState::begin(open.respondent).apply(reason.transition()).unwrap();
        let record = SegmentRecord {
            id: segment,
            call: open.call,
            tenant: open.tenant,
            number: open.number,
            total: total::at_end(open.number, open.total, &reason),
            node: self.number,
            volume: Default::default(),
            state,
            respondent: open.respondent,
            started: open.started,
            ended: Some(now.wall),
            trigger: open.trigger,
            end: Some(reason),
            stopped_by: None,
            pauses: Vec::new(),
            pauses_unlisted: 0,
            dtmf: open.dtmf,
            encryption: Default::default(),
            data: CallData::default(),
            metadata: Vec::new(),
            streams: Vec::new(),
            parts: Vec::new(),
            sidecar: None,
        };
        Some(Report::Ended { record: Box::new(record) })
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 100].into(), port)
}

/// Of which segment an order is.
fn of_order(order: &Order) -> Option<SegmentId> {
    match order {
        Order::Open(open) => Some(open.segment),
        Order::Change { segment, .. }
        | Order::Annotate { segment, .. }
        | Order::End { segment, .. }
        | Order::Withdraw { segment }
        | Order::Pause { segment, .. }
        | Order::Resume { segment, .. }
        | Order::Keys { segment, .. } => Some(*segment),
        Order::Conclude(_) | Order::Join(_) => None,
    }
}
