//! What proxies told of their calls, at a record server, and who is to hear of it.
//!
//! It holds what proxies that are linked said by the link that they have: whose link is gone tells everything again by the
//! next one, and until then nobody of theirs could be told anything. So nothing here has to end by time.

use std::collections::{BTreeMap, BTreeSet};

use model::join::CALLS_MAX as CALLS_OF_ONE_MAX;
use model::sighting::SIGNS_MAX;
use model::{CallId, PeerName, Sighting, Sign};

/// Calls that are held: those in progress of several proxies at their limits, and as many that ended lately.
const CALLS_MAX: usize = 131_072;
/// Signs of all of them, at some hundred octets each: a call has ten, and the half of them have twice as many. The calls
/// that were told of longest ago are forgotten first.
const ALL_SIGNS_MAX: usize = 2 << 20;
/// Calls with one sign that are compared. Each proxy has one call of an id, and 64 may be linked: what is on more is a
/// constant, and no id.
const CALLS_OF_A_SIGN_MAX: usize = 64;
/// Record servers that a call is told to lie on: more than a call comes to.
const ON_MAX: usize = 64;

/// A call, as a proxy has it: while it goes from one to another both may speak of it.
type Whose = (CallId, PeerName);

/// A proxy is to hear that a call of its own may be one with another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) to: PeerName,
    /// The call of who hears it.
    pub(crate) call: CallId,
    /// The other, with the signs that both have.
    pub(crate) other: Sighting,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    told: BTreeMap<Whose, (u64, Sighting)>,
    by_sign: BTreeMap<Sign, BTreeSet<Whose>>,
    /// The same in the order in which they were told of.
    in_order: BTreeMap<u64, Whose>,
    signs: usize,
    /// How many there may be.
    signs_max: usize,
    /// How often something was told.
    turns: u64,
}

impl Board {
    /// Nothing was told yet.
    pub(crate) const fn new() -> Self {
        Self {
            told: BTreeMap::new(),
            by_sign: BTreeMap::new(),
            in_order: BTreeMap::new(),
            signs: 0,
            signs_max: ALL_SIGNS_MAX,
            turns: 0,
        }
    }

    /// A proxy tells of a call. Who is to hear of what.
    pub(crate) fn told(&mut self, by: &PeerName, mut sighting: Sighting) -> Vec<Found> {
        while sighting.signs.len() > SIGNS_MAX {
            sighting.signs.pop_last();
        }
        while sighting.on.len() > ON_MAX {
            sighting.on.pop_last();
        }
        let whose = (sighting.call.call, by.clone());
        self.forget(&whose);
        let found = self.compare(by, &sighting);
        self.turns += 1;
        self.signs += sighting.signs.len();
        for sign in &sighting.signs {
            self.by_sign.entry(*sign).or_default().insert(whose.clone());
        }
        self.in_order.insert(self.turns, whose.clone());
        self.told.insert(whose, (self.turns, sighting));
        while (self.told.len() > CALLS_MAX || self.signs > self.signs_max)
            && let Some((_, oldest)) = self.in_order.pop_first()
        {
            self.forget(&oldest);
        }
        found
    }

    /// Nothing is recognized as this call of a proxy any more.
    pub(crate) fn untold(&mut self, by: &PeerName, call: CallId) {
        self.forget(&(call, by.clone()));
    }

    /// The link of a proxy is gone, or another one is there.
    pub(crate) fn left(&mut self, by: &PeerName) {
        let gone: Vec<Whose> = self.told.keys().filter(|(_, whose)| whose == by).cloned().collect();
        gone.iter().for_each(|whose| self.forget(whose));
    }

    /// The calls of other proxies that have signs of this one, and who hears of what: both.
    fn compare(&self, by: &PeerName, sighting: &Sighting) -> Vec<Found> {
        let mut shared: BTreeMap<&Whose, BTreeSet<Sign>> = BTreeMap::new();
        for sign in &sighting.signs {
            let with = self.by_sign.get(sign).filter(|with| with.len() < CALLS_OF_A_SIGN_MAX);
            let others = with.into_iter().flatten();
            for other in others.filter(|(call, whose)| whose != by && *call != sighting.call.call) {
                shared.entry(other).or_default().insert(*sign);
            }
        }
        let of_one = |(whose, _): &(&Whose, BTreeSet<Sign>)| {
            self.told.get(*whose).is_some_and(|(_, other)| other.call.tenant == sighting.call.tenant)
        };
        let mut found = Vec::new();
        for (whose, signs) in shared.into_iter().filter(of_one).take(CALLS_OF_ONE_MAX) {
            let Some((_, other)) = self.told.get(whose) else { continue };
            let with = |sighting: &Sighting| Sighting { signs: signs.clone(), ..sighting.clone() };
            found.push(Found { to: by.clone(), call: sighting.call.call, other: with(other) });
            found.push(Found { to: whose.1.clone(), call: whose.0, other: with(sighting) });
        }
        found
    }

    fn forget(&mut self, whose: &Whose) {
        let Some((turn, gone)) = self.told.remove(whose) else { return };
        self.in_order.remove(&turn);
        self.signs -= gone.signs.len();
        for sign in &gone.signs {
            let with = self.by_sign.get_mut(sign);
            if with.is_some_and(|with| with.remove(whose) && with.is_empty()) {
                self.by_sign.remove(sign);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{CallKey, WallTime};

    use super::*;

    fn name(name: &str) -> PeerName {
        name.parse().unwrap()
    }

    fn sign(n: u32) -> Sign {
        Sign::of_digest(&n.to_be_bytes())
    }

    fn sighting(call: u64, signs: &[u32]) -> Sighting {
        let call = CallId::from_u64(call);
        Sighting {
            call: CallKey { call, call_started: WallTime(0), tenant: "bonn".parse().unwrap() },
            total: 1,
            signs: signs.iter().map(|n| sign(*n)).collect(),
            bridged: BTreeSet::new(),
            on: BTreeSet::new(),
        }
    }

    /// Tells, and who hears of which call for which of its own, with how many signs.
    fn tell(board: &mut Board, by: &str, call: u64, signs: &[u32]) -> Vec<(String, u64, u64, usize)> {
        let found = board.told(&name(by), sighting(call, signs));
        let line =
            |f: Found| (f.to.to_string(), f.call.as_u64(), f.other.call.call.as_u64(), f.other.signs.len());
        found.into_iter().map(line).collect()
    }

    fn is_empty(board: &Board) -> bool {
        board.told.is_empty() && board.by_sign.is_empty() && board.in_order.is_empty() && board.signs == 0
    }

    #[test]
    fn both_hear_of_each_other_whoever_came_first_and_nobody_of_its_own() {
        let mut board = Board::new();
        assert_eq!(tell(&mut board, "a", 1, &[1, 2, 3]), []);
        assert_eq!(tell(&mut board, "a", 2, &[1]), []);
        let both = |call, signs| vec![("b".to_owned(), 9, call, signs), ("a".to_owned(), call, 9, signs)];
        assert_eq!(tell(&mut board, "b", 9, &[2, 3, 4]), both(1, 2));
        // What is new of either is told again.
        assert_eq!(tell(&mut board, "b", 9, &[4]), []);
        assert_eq!(tell(&mut board, "b", 9, &[1]), [both(1, 1), both(2, 1)].concat());
    }

    #[test]
    fn who_is_not_linked_any_more_leaves_nothing_and_tenants_never_meet() {
        let mut board = Board::new();
        tell(&mut board, "a", 1, &[1]);
        board.left(&name("a"));
        assert!(is_empty(&board));
        tell(&mut board, "a", 1, &[1]);
        let mut foreign = sighting(2, &[1]);
        foreign.call.tenant = "acme".parse().unwrap();
        assert_eq!(board.told(&name("b"), foreign), []);
        board.untold(&name("a"), CallId::from_u64(2));
        board.untold(&name("b"), CallId::from_u64(2));
        assert_eq!(board.told.len(), 1);
        board.untold(&name("a"), CallId::from_u64(1));
        assert!(is_empty(&board));
    }

    #[test]
    fn a_call_that_goes_from_one_proxy_to_another_is_not_one_with_itself_and_is_of_whoever_speaks_last() {
        let mut board = Board::new();
        tell(&mut board, "a", 1, &[1]);
        assert_eq!(tell(&mut board, "b", 1, &[1]), []);
        board.untold(&name("a"), CallId::from_u64(1));
        assert_eq!(tell(&mut board, "c", 3, &[1]).len(), 2);
    }

    #[test]
    fn what_is_on_more_calls_than_there_are_proxies_is_no_sign() {
        let mut board = Board::new();
        for n in 0..200_u32 {
            let by = if n % 2 == 0 { "a" } else { "b" };
            let found = tell(&mut board, by, u64::from(n), &[7]).len();
            assert!(found <= 2 * CALLS_OF_ONE_MAX && (n < 64 || found == 0), "{n}: {found}");
        }
    }

    #[test]
    fn beyond_its_limits_the_oldest_are_forgotten_and_leave_nothing() {
        let most = 20 * SIGNS_MAX;
        let mut board = Board { signs_max: most, ..Board::new() };
        let many = |n: u32| -> Vec<u32> { (0..300).map(|i| n * 300 + i).collect() };
        (0..25).for_each(|n| _ = tell(&mut board, "a", u64::from(n), &many(n)));
        assert_eq!((board.told.len(), board.signs), (20, most));
        assert_eq!((board.by_sign.len(), board.in_order.len()), (most, 20));
        board.left(&name("a"));
        assert!(is_empty(&board));
    }
}
