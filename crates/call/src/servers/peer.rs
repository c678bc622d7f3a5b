//! One record server: whether there is a link to it, how it is, and what it is owed when it returns.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::{Beat, Hello, Mono, NodeNumber, Order, Resource, SegmentId, Standing};

use super::PeerStanding;
use crate::placement::Balance;

/// Conclusions and joins that wait for a record server to return: those of a day with a call in each twenty seconds, and of
/// some minutes where more come. Beyond it the oldest is given up: its log lacks a line that gathering writes as well.
const KEPT_MAX: usize = 4_096;
/// Ends that it did not confirm: what it can have live. One beyond it gets an end without its reason when it returns.
const OWED_MAX: usize = 16_384;

/// How long it may be unknown whether a record server has noted what it was told to: until it is missed, and a sync of its
/// disk, with room for one that hangs.
const UNSURE_FOR: Duration = Duration::from_secs(10);
/// Differences of less room than so many thousandths are noise: those that are about equal are asked in a circle.
const NOISE: u32 = 50;
/// At most one alarm in so much time that it does not answer: under a rush of orders it may do so again and again.
const SUSPICION_TOLD: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) link: Link,
    /// Who it was when it was up last.
    identity: Option<Identity>,
    pub(super) balance: Balance,
    /// What is to be noted in files of its calls when it returns.
    kept: VecDeque<Order>,
    /// The same that it was sent a moment ago, or that has not come there as far as it says, each with its place among the
    /// orders of the link: nothing answers it, and it may be lost with the link or the process.
    unsure: VecDeque<(Mono, u64, Order)>,
    /// Ends that it was told and did not confirm, or is to be told when it returns.
    owed: BTreeMap<SegmentId, Order>,
    /// When somebody was told last that it does not answer.
    suspicion_told: Option<Mono>,
}

/// Who a record server is from one start to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) node: NodeNumber,
    /// Another one after each start.
    pub(super) run: u64,
}

/// Whether there is a link.
#[derive(Debug, Default)]
pub(super) enum Link {
    #[default]
    Away,
    Up(Up),
}

/// What is known of one that is up.
#[derive(Debug, Default)]
pub(super) struct Up {
    /// As it said last how it is.
    beat: Option<Beat>,
    /// Segments placed there since.
    placed: u32,
    /// It did not answer an order in time.
    is_suspected: bool,
    /// Orders that were sent by the link, and those that it says have come.
    sent: u64,
    heard: Option<u64>,
}

impl Peer {
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Who it is, while it is up.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.filter(|_| self.is_up())
    }

    /// Whether it has begun anew since it was this: nothing goes on there of what it had then.
    pub(super) fn has_lost(&self, was: Identity) -> bool {
        self.identity != Some(was)
    }

    pub(super) fn came_up(&mut self, hello: &Hello) {
        self.identity = Some(Identity { node: hello.node, run: hello.run });
        self.link = Link::Up(Up::default());
    }

    /// What it may not have noted waits for its return. Whether something is given up for that.
    pub(super) fn went_away(&mut self, now: Mono) -> Vec<Order> {
        self.is_sure(now);
        self.link = Link::Away;
        self.balance = Balance::default();
        let unsure = std::mem::take(&mut self.unsure);
        unsure.into_iter().filter_map(|(_, _, order)| self.keep(order)).collect()
    }

    /// It is sent something that is to be noted in files.
    pub(super) fn noting(&mut self, now: Mono, order: Order) {
        let place = if let Link::Up(up) = &self.link { up.sent + 1 } else { 0 };
        self.unsure.push_back((now, place, order));
        if self.unsure.len() > KEPT_MAX {
            self.unsure.pop_front();
        }
    }

    /// An order is sent to it.
    pub(super) const fn sends(&mut self) {
        if let Link::Up(up) = &mut self.link {
            up.sent += 1;
        }
    }

    /// It is there: what it was told a while ago, and has heard, it has noted.
    pub(super) fn is_sure(&mut self, now: Mono) {
        let heard = if let Link::Up(up) = &self.link { up.heard } else { None };
        let is_noted =
            |at: Mono, place: u64| now.since(at) > UNSURE_FOR && heard.is_none_or(|heard| heard >= place);
        while self.unsure.front().is_some_and(|(at, place, _)| is_noted(*at, *place)) {
            self.unsure.pop_front();
        }
    }

    pub(super) fn beat(&mut self, beat: Beat) {
        if let Link::Up(up) = &mut self.link {
            up.heard = beat.heard;
            up.beat = Some(beat);
            up.placed = 0;
        }
    }

    /// It answered an order.
    pub(super) fn answered(&mut self) {
        if let Link::Up(up) = &mut self.link {
            up.is_suspected = false;
        }
    }

    /// It did not answer an order in time. Whether somebody is to be told.
    pub(super) fn suspect(&mut self, now: Mono) -> bool {
        let Link::Up(up) = &mut self.link else { return false };
        up.is_suspected = true;
        let is_told = self.suspicion_told.is_some_and(|at| now.since(at) < SUSPICION_TOLD);
        if !is_told {
            self.suspicion_told = Some(now);
        }
        !is_told
    }

    /// A segment is placed there.
    pub(super) fn place(&mut self) {
        if let Link::Up(up) = &mut self.link {
            up.placed = up.placed.saturating_add(1);
        }
    }

    /// How often it is to be chosen, against the others; none: not at all.
    pub(super) fn weight(&self) -> Option<u32> {
        let Link::Up(Up { beat: Some(beat), placed, is_suspected: false, .. }) = &self.link else {
            return None;
        };
        let taken = placed.saturating_mul(each(beat));
        let left = u32::from(beat.free()).saturating_sub(taken);
        // What says that it takes calls gets one now and then.
        (beat.standing == Standing::Taking).then(|| left.div_ceil(NOISE).max(1))
    }

    /// The same for a call that goes on already: of most things there is some left for it where no new call is taken.
    pub(super) fn weight_at_need(&self) -> Option<u32> {
        let Link::Up(Up { beat: Some(beat), is_suspected: false, .. }) = &self.link else { return None };
        let Standing::Over(of) = &beat.standing else { return None };
        let is_hopeless = |of: &Resource| matches!(of, Resource::Descriptors | Resource::DiskSpace);
        (!of.iter().any(is_hopeless)).then_some(1)
    }

    pub(super) fn is_suspected(&self) -> bool {
        matches!(self.link, Link::Up(Up { is_suspected: true, .. }))
    }

    pub(super) fn standing(&self) -> PeerStanding {
        match &self.link {
            Link::Away => PeerStanding::Away,
            Link::Up(Up { is_suspected: true, .. }) => PeerStanding::Suspected,
            Link::Up(Up { beat: None, .. }) => PeerStanding::Awaited,
            Link::Up(Up { beat: Some(beat), .. }) => PeerStanding::Says(beat.standing.clone()),
        }
    }

    /// It is to be told this when it returns, whether or not it begins anew. What is given up for it at the limit.
    pub(super) fn keep(&mut self, order: Order) -> Option<Order> {
        self.kept.push_back(order);
        if self.kept.len() > KEPT_MAX { self.kept.pop_front() } else { None }
    }

    pub(super) fn take_kept(&mut self) -> VecDeque<Order> {
        std::mem::take(&mut self.kept)
    }

    /// It does not confirm this end.
    pub(super) fn owe(&mut self, segment: SegmentId, end: Order) {
        self.owed.insert(segment, end);
        if self.owed.len() > OWED_MAX {
            self.owed.pop_first();
        }
    }

    /// It confirms an end.
    pub(super) fn confirm(&mut self, segment: SegmentId) {
        self.owed.remove(&segment);
    }

    pub(super) fn take_owed(&mut self) -> BTreeMap<SegmentId, Order> {
        std::mem::take(&mut self.owed)
    }

    pub(super) fn remembered(&self) -> usize {
        self.kept.len() + self.owed.len()
    }
}

/// What one recording takes, in thousandths of what it may have; rounded up.
fn each(beat: &Beat) -> u32 {
    let of_recordings = beat.loads.iter().find(|(of, _)| *of == Resource::Recordings);
    let used = of_recordings.map_or(0, |(_, share)| u32::from(share.thousandths()));
    used.div_ceil(beat.recordings.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use model::{Share, WallTime};

    use super::*;

    fn up(standing: Standing, recordings: u32, allowed: u64) -> Peer {
        let hello = Hello { name: "a".parse().unwrap(), node: NodeNumber::SINGLE, run: 1, segments: vec![] };
        let mut peer = Peer::default();
        peer.came_up(&hello);
        assert_eq!(peer.weight(), None, "it has not said yet how it is");
        let loads = vec![
            (Resource::Cpu, Share::of(2, 10)),
            (Resource::Recordings, Share::of(recordings.into(), allowed)),
        ];
        peer.beat(Beat { number: 1, at: WallTime(0), recordings, loads, standing, heard: None });
        peer
    }

    #[test]
    fn what_was_placed_since_the_last_beat_counts() {
        let mut peer = up(Standing::Taking, 50, 100);
        assert_eq!(peer.weight(), Some(10));
        (0..20).for_each(|_| peer.place());
        assert_eq!(peer.weight(), Some(6));
        (0..200).for_each(|_| peer.place());
        assert_eq!(peer.weight(), Some(1));
        assert_eq!(up(Standing::Taking, 0, 100).weight(), Some(16));
    }

    #[test]
    fn who_does_not_take_calls_has_no_weight() {
        let over = vec![Resource::Cpu];
        for standing in [Standing::Over(over), Standing::Draining, Standing::Failing("no disk".to_owned())] {
            assert_eq!(up(standing, 1, 100).weight(), None);
        }
        let mut peer = up(Standing::Taking, 1, 100);
        let at = |s: u64| Mono(s * 1_000_000_000);
        assert!(peer.suspect(at(1)));
        assert_eq!(peer.weight(), None);
        peer.answered();
        assert_eq!(peer.weight(), Some(16));
        assert!(!peer.suspect(at(10)) && peer.suspect(at(11)));
        assert_eq!(peer.went_away(at(99)), []);
        assert_eq!((peer.weight(), peer.suspect(at(99))), (None, false));
    }

    #[test]
    fn what_has_not_come_there_is_not_noted_however_long_ago_it_was_sent() {
        let at = |s: u64| Mono(s * 1_000_000_000);
        let order = |n| Order::Withdraw { segment: SegmentId::from_u64(n) };
        let mut peer = Peer::default();
        let name = "a".parse().unwrap();
        peer.came_up(&Hello { name, node: NodeNumber::SINGLE, run: 1, segments: Vec::new() });
        let beat = |heard| Beat {
            number: 1,
            at: WallTime(0),
            recordings: 0,
            loads: Vec::new(),
            standing: Standing::Taking,
            heard,
        };
        for n in 1..=3 {
            peer.noting(at(1), order(n));
            peer.sends();
        }
        peer.beat(beat(Some(2)));
        peer.is_sure(at(5));
        assert_eq!(peer.unsure.len(), 3, "it may be lost with its process");
        peer.is_sure(at(60));
        assert_eq!(peer.unsure.len(), 1, "the third has not come there");
        assert_eq!(peer.went_away(at(61)), [], "none is given up");
        assert_eq!(peer.take_kept(), [order(3)]);
    }

    #[test]
    fn what_waits_for_its_return_is_limited() {
        let mut peer = Peer::default();
        let order = |n| Order::Withdraw { segment: SegmentId::from_u64(n) };
        let given_up: Vec<Order> = (0..4_098).filter_map(|n| peer.keep(order(n))).collect();
        assert_eq!(given_up, [order(0), order(1)]);
        (0..5_000).for_each(|n| peer.noting(Mono(0), order(n)));
        assert_eq!(peer.went_away(Mono(1)).len(), KEPT_MAX, "what was kept before");
        (0..20_000).for_each(|n| peer.owe(SegmentId::from_u64(n), order(n)));
        assert_eq!(peer.remembered(), KEPT_MAX + OWED_MAX);
        assert_eq!(peer.take_owed().len(), OWED_MAX);
    }
}
