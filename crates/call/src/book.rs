//! At a record server: which proxy ordered which segment, and what it has yet to hear; and what it refuses. It never waits
//! for a proxy, and knows nothing of links.
//!
//! ```text
//!  Open of proxy p ──► segment is p's ──► its reports go to p ──────────────► Refused, Withdrawn, Ended: it is nobody's
//!                                             └ p is away: they are kept ──► told when p is back
//! ```
//!
//! A proxy that begins anew knows nothing of what was ordered before: what is reported of that is kept for whoever carries on the
//! call, which may be the same proxy. Whose a segment is moves with its call, by an epoch that grows; who comes with an older one
//! gets nothing. The proxy that had it before hears when it is over, because media may come by its ports until then.
//!
//! While a proxy is away its segments go on: media come from its clients, not from it. One that brings no media any more
//! then, or cannot be written, is ended from here, as nobody else can order that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    CallData, CallId, EndReason, Failure, OpenSegment, Order, PeerName, Report, Resource, SegmentId, Standing,
};

/// Reports that are kept for a proxy that is away: an hour's worth of ends at some calls a second. Beyond it the oldest
/// are forgotten: the proxy takes what it does not hear of for ended.
const KEPT_MAX: usize = 8_192;

/// What becomes of a report.
#[derive(Debug, PartialEq)]
pub enum Whose {
    /// It is for the front of this process.
    Own(Report),
    /// It is for this proxy.
    Of(PeerName, Report),
    /// It is kept for a proxy that is away.
    Kept,
    /// Its proxy is away and it cannot wait: the segment is to be ended so.
    End(SegmentId, EndReason),
}

/// A proxy as seen from here.
#[derive(Debug, Default)]
struct Proxy {
    is_here: bool,
    /// Which process it is, or was; none: it has not said.
    run: Option<u64>,
    /// Reports, each for the process that ordered its segment.
    kept: VecDeque<(Option<u64>, Report)>,
}

/// A segment that a proxy ordered.
#[derive(Debug)]
struct Ordered {
    by: PeerName,
    /// Which process of it.
    run: Option<u64>,
    /// Whose it was until its call became another's.
    before: Option<(PeerName, Option<u64>)>,
    call: CallId,
    /// It has ports: a refusal is one to change its streams, and leaves it as it was.
    is_open: bool,
    /// Its proxy was told that it cannot go on, which is said once, and is to end it so.
    cannot_go_on: Option<EndReason>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Book {
    segments: BTreeMap<SegmentId, Ordered>,
    proxies: BTreeMap<PeerName, Proxy>,
    /// Of calls that have segments here and became another's: by which epoch.
    epochs: BTreeMap<CallId, u64>,
    /// Whom to tell that a segment is over that was theirs.
    over: VecDeque<(PeerName, SegmentId)>,
}

impl Book {
    /// A proxy is there, or there again: its segments of whose end it has not heard, and what it has missed.
    pub fn arrived(&mut self, name: &PeerName) -> (Vec<SegmentId>, VecDeque<Report>) {
        let segments = self.segments_of(name);
        let missed = self.here(name, None);
        let ended = missed.iter().filter(|r| matches!(r, Report::Ended { .. })).map(Report::segment);
        let segments: BTreeSet<SegmentId> = segments.into_iter().chain(ended).collect();
        (segments.into_iter().collect(), missed)
    }

    /// The segments of a proxy of whose end it has not heard, whichever process of it ordered them.
    #[must_use]
    pub fn segments_of(&self, name: &PeerName) -> Vec<SegmentId> {
        let live = self.segments.iter().filter(|(_, of)| of.by == *name).map(|(segment, _)| *segment);
        let kept = self.proxies.get(name).into_iter().flat_map(|proxy| &proxy.kept);
        let ended = kept.filter(|(_, r)| matches!(r, Report::Ended { .. })).map(|(_, r)| r.segment());
        live.chain(ended).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A proxy has a new link: which process it is it has yet to say, and what is reported meanwhile is kept.
    pub fn linked(&mut self, name: &PeerName) {
        if let Some(proxy) = self.proxies.get_mut(name) {
            (proxy.is_here, proxy.run) = (false, None);
        }
    }

    /// A proxy is there, as this process: what that has missed. What is kept for an earlier one stays.
    pub fn here(&mut self, name: &PeerName, run: Option<u64>) -> VecDeque<Report> {
        let proxy = self.proxies.entry(name.clone()).or_default();
        (proxy.is_here, proxy.run) = (true, run);
        // What it ordered before it said so is its own.
        let is_own = |of: Option<u64>| of.is_none() || of == run;
        for ordered in self.segments.values_mut().filter(|of| of.by == *name && is_own(of.run)) {
            ordered.run = run;
        }
        let (own, rest) = std::mem::take(&mut proxy.kept).into_iter().partition(|(of, _)| is_own(*of));
        proxy.kept = rest;
        let own: VecDeque<(Option<u64>, Report)> = own;
        own.into_iter().map(|(_, report)| report).collect()
    }

    /// A proxy is gone, perhaps to return. What it was to end, and how: nobody else can, and nothing says so again.
    pub fn left(&mut self, name: &PeerName) -> Vec<(SegmentId, EndReason)> {
        let of_it = || self.segments.iter().filter(|(_, ordered)| ordered.by == *name);
        let to_end = of_it().filter_map(|(segment, of)| Some((*segment, of.cannot_go_on.clone()?))).collect();
        if of_it().next().is_some() || self.proxies.get(name).is_some_and(|proxy| !proxy.kept.is_empty()) {
            self.proxies.entry(name.clone()).or_default().is_here = false;
        } else {
            self.proxies.remove(name);
        }
        to_end
    }

    /// A proxy orders something: whether it may. What is of a segment of another proxy is not for it to say.
    pub fn ordered(&mut self, by: &PeerName, order: &Order) -> bool {
        if let Order::Open(open) = order {
            let run = self.proxies.get(by).and_then(|proxy| proxy.run);
            let (by, call) = (by.clone(), open.call);
            let ordered = Ordered { by, run, before: None, call, is_open: false, cannot_go_on: None };
            self.segments.insert(open.segment, ordered);
        }
        let of = order.segment().and_then(|segment| self.segments.get(&segment));
        of.is_none_or(|ordered| ordered.by == *by)
    }

    /// What proxies ordered of a call is this one's from now on: the segments of whose end it has not heard, and what its
    /// owner before has missed. None where a later owner has it.
    pub fn moved(
        &mut self,
        call: CallId,
        to: &PeerName,
        epoch: u64,
    ) -> Option<(Vec<SegmentId>, Vec<Report>)> {
        if self.epochs.get(&call).is_some_and(|last| *last > epoch) {
            return None;
        }
        let run = self.proxies.get(to).and_then(|proxy| proxy.run);
        let mut segments = BTreeSet::new();
        for (segment, ordered) in self.segments.iter_mut().filter(|(_, ordered)| ordered.call == call) {
            if (&ordered.by, ordered.run) != (to, run) {
                let before = std::mem::replace(&mut ordered.by, to.clone());
                ordered.before = Some((before, std::mem::replace(&mut ordered.run, run)));
            }
            segments.insert(*segment);
        }
        if !segments.is_empty() {
            self.epochs.insert(call, epoch);
        }
        let missed = self.take_missed(call, &segments, (to, run));
        segments.extend(missed.iter().filter(|r| matches!(r, Report::Ended { .. })).map(Report::segment));
        Some((segments.into_iter().collect(), missed))
    }

    /// What is kept of a call, or of segments of it, for others than the process that has it now.
    fn take_missed(
        &mut self,
        call: CallId,
        segments: &BTreeSet<SegmentId>,
        (to, run): (&PeerName, Option<u64>),
    ) -> Vec<Report> {
        let is_of_it = |report: &Report| match report {
            Report::Ended { record } => record.call == call,
            report => segments.contains(&report.segment()),
        };
        let mut missed = Vec::new();
        for (name, proxy) in &mut self.proxies {
            let (of_it, rest) = std::mem::take(&mut proxy.kept)
                .into_iter()
                .partition(|(of, report)| (name, *of) != (to, run) && is_of_it(report));
            proxy.kept = rest;
            let of_it: VecDeque<(Option<u64>, Report)> = of_it;
            missed.extend(of_it.into_iter().map(|(_, report)| report));
        }
        missed
    }

    /// Who was given a call by this epoch does not carry it on: what is recorded of it is of whom it was before, who may have
    /// asked for it by the same epoch.
    pub fn given_back(&mut self, call: CallId, by: &PeerName, epoch: u64) {
        if self.epochs.get(&call) != Some(&epoch) {
            return;
        }
        for ordered in self.segments.values_mut().filter(|of| of.call == call && of.by == *by) {
            if let Some((before, run)) = ordered.before.take() {
                (ordered.by, ordered.run) = (before, run);
            }
        }
    }

    /// Whom to tell next that a segment is over that was theirs.
    pub fn poll_over(&mut self) -> Option<(PeerName, SegmentId)> {
        self.over.pop_front()
    }

    /// All segments that proxies ordered and that are not over.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentId> {
        self.segments.keys().copied().collect()
    }

    /// Those of them that have ports. Whether the others will ever be is not known, so nothing may be said of them.
    #[must_use]
    pub fn opened(&self) -> Vec<SegmentId> {
        self.segments.iter().filter(|(_, ordered)| ordered.is_open).map(|(segment, _)| *segment).collect()
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The record server reports.
    pub fn whose(&mut self, report: Report) -> Whose {
        let segment = report.segment();
        let Some(ordered) = self.segments.get_mut(&segment) else { return Whose::Own(report) };
        let (name, run) = (ordered.by.clone(), ordered.run);
        match &report {
            Report::Opened { .. } => ordered.is_open = true,
            Report::Refused { .. } if ordered.is_open => {}
            Report::Refused { .. } | Report::Withdrawn { .. } | Report::Ended { .. } => {
                self.strike_out(segment)
            }
            Report::MediaTimedOut { .. } => {
                ordered.cannot_go_on = Some(EndReason::Upstream(Failure::MediaTimeout));
            }
            Report::Failing { why, .. } => ordered.cannot_go_on = Some(EndReason::Internal(why.clone())),
            Report::CarriedOut { .. } => {}
        }
        let cannot_go_on = self.segments.get(&segment).and_then(|ordered| ordered.cannot_go_on.clone());
        let report = in_short(report);
        let proxy = self.proxies.entry(name.clone()).or_default();
        match (report, cannot_go_on) {
            (report, _) if proxy.is_here && proxy.run == run => Whose::Of(name, report),
            (Report::MediaTimedOut { .. } | Report::Failing { .. }, Some(reason)) => {
                Whose::End(segment, reason)
            }
            (report, _) => {
                if proxy.kept.len() >= KEPT_MAX {
                    proxy.kept.pop_front();
                }
                proxy.kept.push_back((run, report));
                Whose::Kept
            }
        }
    }

    /// A segment is over.
    fn strike_out(&mut self, segment: SegmentId) {
        let Some(ordered) = self.segments.remove(&segment) else { return };
        if let Some((before, _)) = ordered.before {
            self.over.push_back((before, segment));
        }
        if self.epochs.contains_key(&ordered.call)
            && !self.segments.values().any(|other| other.call == ordered.call)
        {
            self.epochs.remove(&ordered.call);
        }
    }
}

/// Why a record server that stands so does not open a segment, if it does not. Without descriptors or room nothing can be
/// opened; of the rest there is some left for calls that go on.
#[must_use]
pub fn refusal(standing: &Standing, open: &OpenSegment) -> Option<Failure> {
    let goes_on = open.number > 1;
    let counts = |r: &&Resource| !goes_on || matches!(r, Resource::Descriptors | Resource::DiskSpace);
    let why = match standing {
        Standing::Taking => return None,
        Standing::Draining => "this record server takes no new calls".to_owned(),
        Standing::Failing(why) => format!("this record server cannot record: {why}"),
        Standing::Over(of) => {
            format!("this record server has no {} left", of.iter().find(counts)?.describe())
        }
    };
    Some(Failure::Resources(why))
}

/// A proxy needs to know that a segment has ended and how; its accounts and what was said of the call are in its files, and
/// may be longer than a message can be.
fn in_short(report: Report) -> Report {
    let Report::Ended { mut record } = report else { return report };
    record.data = CallData::default();
    record.metadata = Vec::new();
    record.streams = Vec::new();
    record.parts = Vec::new();
    record.pauses = Vec::new();
    Report::Ended { record }
}

#[cfg(test)]
mod tests {
    use model::segment::Encryption;
    use model::state::Respondent;
    use model::{
        CallId, Dtmf, Metadata, NodeNumber, OpenSegment, RecordingState, SegmentRecord, StartTrigger,
        TenantId, VolumeName, WallTime,
    };

    use super::*;

    fn name(n: &str) -> PeerName {
        n.parse().unwrap()
    }

    fn segment(n: u64) -> SegmentId {
        SegmentId::from_u64(n)
    }

    fn open(n: u64) -> Order {
        Order::Open(Box::new(OpenSegment::first(segment(n), CallId::from_u64(1), WallTime(0), Vec::new())))
    }

    fn opened(n: u64) -> Report {
        Report::Opened { segment: segment(n), ports: Vec::new() }
    }

    fn withdrawn(n: u64) -> Report {
        Report::Withdrawn { segment: segment(n) }
    }

    #[test]
    fn what_is_scarce_is_left_for_calls_that_go_on() {
        let first = OpenSegment::first(segment(1), CallId::from_u64(1), WallTime(0), Vec::new());
        let second = OpenSegment { number: 2, ..first.clone() };
        let refuses = |standing: &Standing| [&first, &second].map(|open| refusal(standing, open).is_some());
        assert_eq!(refuses(&Standing::Taking), [false, false]);
        assert_eq!(refuses(&Standing::Draining), [true, true]);
        assert_eq!(refuses(&Standing::Over(vec![Resource::Cpu])), [true, false]);
        assert_eq!(refuses(&Standing::Over(vec![Resource::Cpu, Resource::DiskSpace])), [true, true]);
        assert_eq!(refuses(&Standing::Failing("no volume".to_owned())), [true, true]);
    }

    #[test]
    fn reports_go_to_who_ordered_the_segment() {
        let (mut book, p, q) = (Book::default(), name("p"), name("q"));
        book.arrived(&p);
        book.arrived(&q);
        book.ordered(&p, &open(1));
        book.ordered(&q, &open(2));
        assert_eq!(book.whose(opened(1)), Whose::Of(p.clone(), opened(1)));
        assert_eq!(book.whose(withdrawn(2)), Whose::Of(q, withdrawn(2)));
        assert_eq!(book.whose(opened(3)), Whose::Own(opened(3)), "the front of this process ordered it");
        assert_eq!(book.segments(), [segment(1)]);
        assert_eq!(book.opened(), [segment(1)]);
        book.ordered(&p, &open(4));
        assert_eq!(book.opened(), [segment(1)], "the other one may be refused yet");
        assert_eq!(book.whose(withdrawn(4)), Whose::Of(p.clone(), withdrawn(4)));
        let refused = || Report::Refused { segment: segment(1), why: Failure::DiskFull };
        assert_eq!(book.whose(refused()), Whose::Of(p.clone(), refused()));
        assert_eq!(book.segments(), [segment(1)], "other streams were refused, not the segment");
        assert_eq!(book.whose(withdrawn(1)), Whose::Of(p, withdrawn(1)));
        assert!(book.is_empty());
    }

    #[test]
    fn a_proxy_that_returns_hears_what_it_has_missed() {
        let (mut book, p) = (Book::default(), name("p"));
        book.arrived(&p);
        book.ordered(&p, &open(1));
        book.ordered(&p, &open(2));
        book.left(&p);
        assert_eq!(book.whose(opened(1)), Whose::Kept);
        assert_eq!(book.whose(withdrawn(2)), Whose::Kept);
        let (live, missed) = book.arrived(&p);
        assert_eq!(live, [segment(1)]);
        assert_eq!(missed, [opened(1), withdrawn(2)]);
        assert_eq!(book.arrived(&p).1, [], "once");
    }

    #[test]
    fn what_cannot_wait_for_a_proxy_is_ended_without_it() {
        let (mut book, p) = (Book::default(), name("p"));
        book.arrived(&p);
        book.ordered(&p, &open(1));
        book.left(&p);
        let why = EndReason::Upstream(Failure::MediaTimeout);
        assert_eq!(book.whose(Report::MediaTimedOut { segment: segment(1) }), Whose::End(segment(1), why));
        let failing = Report::Failing { segment: segment(1), why: Failure::DiskFull };
        assert_eq!(book.whose(failing), Whose::End(segment(1), EndReason::Internal(Failure::DiskFull)));
    }

    #[test]
    fn a_proxy_hears_of_an_end_in_short() {
        let (mut book, p) = (Book::default(), name("p"));
        book.arrived(&p);
        book.ordered(&p, &open(1));
        let text = "said of the call ".repeat(1 << 16);
        let told = Metadata {
            at: WallTime(0),
            method: "INVITE".to_owned(),
            content_type: "text/plain".to_owned(),
            text,
            base64: None,
            problem: None,
        };
        let record = SegmentRecord {
            id: segment(1),
            call: CallId::from_u64(1),
            tenant: TenantId::default(),
            number: 1,
            total: 1,
            node: NodeNumber::SINGLE,
            volume: VolumeName::default(),
            state: RecordingState::Partial,
            respondent: Respondent::No,
            started: WallTime(0),
            ended: Some(WallTime(1)),
            trigger: StartTrigger::Manager,
            end: Some(EndReason::HangUp),
            stopped_by: None,
            pauses: Vec::new(),
            pauses_unlisted: 0,
            dtmf: Dtmf::Keep,
            encryption: Encryption::default(),
            data: CallData::default(),
            metadata: vec![told],
            streams: Vec::new(),
            parts: Vec::new(),
            sidecar: None,
        };
        let short = SegmentRecord { metadata: Vec::new(), ..record.clone() };
        let ended = |record| Report::Ended { record: Box::new(record) };
        assert_eq!(book.whose(ended(record)), Whose::Of(p, ended(short)));
    }

    #[test]
    fn what_a_proxy_was_to_end_that_goes_is_ended_without_it() {
        let (mut book, p) = (Book::default(), name("p"));
        book.arrived(&p);
        book.ordered(&p, &open(1));
        book.ordered(&p, &open(2));
        let timed_out = || Report::MediaTimedOut { segment: segment(1) };
        assert_eq!(book.whose(timed_out()), Whose::Of(p.clone(), timed_out()), "it may be gone already");
        let why = EndReason::Upstream(Failure::MediaTimeout);
        assert_eq!(book.left(&p), [(segment(1), why)]);
    }

    #[test]
    fn what_a_proxy_ordered_that_is_gone_is_of_who_carries_it_on() {
        let (mut book, p, q) = (Book::default(), name("p"), name("q"));
        book.arrived(&p);
        book.arrived(&q);
        book.ordered(&p, &open(1));
        book.left(&p);
        assert_eq!(book.whose(opened(1)), Whose::Kept);
        assert_eq!(book.moved(CallId::from_u64(2), &q, 1), Some((vec![], vec![])), "another call");
        assert_eq!(book.moved(CallId::from_u64(1), &q, 1), Some((vec![segment(1)], vec![opened(1)])));
        assert_eq!(book.poll_over(), None);
        assert_eq!(book.whose(withdrawn(1)), Whose::Of(q, withdrawn(1)));
        assert_eq!(book.poll_over(), Some((p.clone(), segment(1))), "its media may still come by that one");
        let (live, missed) = book.arrived(&p);
        assert_eq!((live, missed.len()), (vec![], 0), "it has nothing of it any more");
    }

    #[test]
    fn a_process_that_begins_anew_hears_what_was_missed_when_it_has_the_call() {
        let (mut book, p) = (Book::default(), name("p"));
        book.linked(&p);
        book.here(&p, Some(1));
        book.ordered(&p, &open(1));
        book.ordered(&p, &open(2));
        book.left(&p);
        assert_eq!(book.whose(opened(1)), Whose::Kept);
        book.linked(&p);
        assert_eq!(book.whose(withdrawn(2)), Whose::Kept, "nobody knows yet which process it is");
        assert_eq!(book.here(&p, Some(2)), [], "it knows nothing of them");
        assert_eq!(book.whose(opened(1)), Whose::Kept, "nor of this");
        // The other is over.
        let missed = vec![opened(1), opened(1)];
        assert_eq!(book.moved(CallId::from_u64(1), &p, 1), Some((vec![segment(1)], missed)));
        assert_eq!(book.whose(opened(1)), Whose::Of(p, opened(1)));
    }

    #[test]
    fn a_link_that_breaks_costs_a_process_nothing() {
        let (mut book, p) = (Book::default(), name("p"));
        book.linked(&p);
        // The first order may come before it says which process it is.
        book.ordered(&p, &open(1));
        book.here(&p, Some(1));
        assert_eq!(book.whose(opened(1)), Whose::Of(p.clone(), opened(1)));
        book.left(&p);
        assert_eq!(book.whose(withdrawn(1)), Whose::Kept);
        book.linked(&p);
        assert_eq!(book.here(&p, Some(1)), [withdrawn(1)]);
    }

    #[test]
    fn who_comes_with_an_older_epoch_gets_nothing_and_who_gives_back_has_nothing_left() {
        let (mut book, call) = (Book::default(), CallId::from_u64(1));
        let [p, q, r] = ["p", "q", "r"].map(name);
        [&p, &q, &r].into_iter().for_each(|proxy| _ = book.arrived(proxy));
        book.ordered(&p, &open(1));
        assert!(book.moved(call, &q, 2).is_some());
        assert_eq!(book.moved(call, &r, 1), None, "it was faster on its way to others only");
        assert_eq!(book.whose(opened(1)), Whose::Of(q.clone(), opened(1)));
        assert!(book.moved(call, &r, 2).is_some(), "both asked by the same epoch");
        book.given_back(call, &r, 1);
        assert_eq!(book.whose(opened(1)), Whose::Of(r.clone(), opened(1)), "that was an older one");
        book.given_back(call, &r, 2);
        assert_eq!(book.whose(opened(1)), Whose::Of(q.clone(), opened(1)));
        let end = Order::End { segment: segment(1), at: WallTime(0), reason: EndReason::HangUp, by: None };
        assert_eq!([&p, &q, &r].map(|proxy| book.ordered(proxy, &end)), [false, true, false]);
        assert_eq!(book.whose(withdrawn(1)), Whose::Of(q, withdrawn(1)));
        assert!(book.epochs.is_empty(), "nothing is left of the call");
        assert!(book.ordered(&p, &end), "it may know better");
    }

    #[test]
    fn what_is_kept_has_a_limit_and_a_proxy_without_segments_is_forgotten() {
        let (mut book, p) = (Book::default(), name("p"));
        book.arrived(&p);
        book.ordered(&p, &open(1));
        book.left(&p);
        for _ in 0..=KEPT_MAX {
            assert_eq!(book.whose(opened(1)), Whose::Kept);
        }
        assert_eq!(book.arrived(&p).1.len(), KEPT_MAX);
        assert_eq!(book.whose(withdrawn(1)), Whose::Of(p.clone(), withdrawn(1)));
        book.left(&p);
        assert!(book.proxies.is_empty());
    }
}
