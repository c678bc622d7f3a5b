//! Calls of which nobody says how they came out: their record servers do.
//!
//! ```text
//!  a proxy says how many segments there are ──► gathered
//!  nobody does, nothing is live, nobody has it ──for a while──► all are asked once more ──► the same ──► concluded
//!                                            └── somebody has it, or it goes on ──► it waits as before
//! ```
//!
//! A proxy that dies while a record server is cut off takes with it how a call came out, and a loss of power may take the last
//! segment that anybody could have known of. Then a call is what is there of it: its total is the highest number, and
//! where a number is missing, one was expected that nobody has, or a record server could not be asked, it had a failure
//! inside. Whoever leads decides it, by the same facts as any other would; a proxy that is back after all may say more
//! ([`crate::gather::conclude`]), and a segment that turns up is gathered as one of a call that went on.
//!
//! It never decides while a record server that can be reached has not said since then what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Care, Mono, Now, Outcome};

use super::known::{Known, Recording, Segment};
use super::plan::View;
use super::synchronizer::Synchronizer;
use super::{LIST_EVERY, Lack, Step};

/// 24 h: how long a record server that is away is waited for, which may have what is missing. What turns up after that is
/// gathered all the same.
const AWAY_FOR: Duration = Duration::from_secs(86_400);

/// How far it is decided that nobody will say how a call came out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Leaving {
    /// Somebody may.
    #[default]
    No,
    /// It looks so since then.
    Since(Mono),
    /// All are asked once more since then; whether this node has looked at what it has itself.
    Asking { since: Mono, has_looked: bool },
    /// It is so.
    Certain,
}

/// What a call comes to of which nobody says so.
#[derive(Debug)]
pub(super) struct Verdict {
    /// How many segments it has.
    pub(super) total: u16,
    /// At least this.
    pub(super) least: Outcome,
    /// What is not known of it, for a person; none where nothing is missing.
    pub(super) told: Option<String>,
}

/// Whether nothing is wanting but somebody who says how it came out, or a segment that nobody has. All that can be reached have
/// been heard.
pub(super) fn is_left(view: &View<'_>, lacks: &[Lack]) -> bool {
    let is_of_it = |lack: &Lack| matches!(lack, Lack::NotEnded | Lack::Number(_) | Lack::Servers(_));
    let is_harmless = |lack: &Lack| matches!(lack, Lack::Differs(..));
    lacks.iter().any(is_of_it)
        && lacks.iter().all(|lack| is_of_it(lack) || is_harmless(lack))
        && (!lacks.contains(&Lack::NotEnded) || nobody_has(view))
}

/// Whether all say that nobody has the call.
fn nobody_has(view: &View<'_>) -> bool {
    let mut all = view.up.keys().chain([&view.terms.node]);
    all.all(|node| view.known.at(*node).is_some_and(|held| held.care == Care::Nobody))
}

/// Record servers that may have something of it, and cannot be asked.
pub(super) fn away(view: &View<'_>) -> usize {
    view.terms.others.saturating_sub(view.up.len())
}

/// What the call comes to, once it is certain that nobody says so.
pub(super) fn verdict(view: &View<'_>, segments: &BTreeMap<Recording, Segment<'_>>) -> Option<Verdict> {
    let known = view.known;
    let ended = known.total(segments);
    if known.left != Leaving::Certain || (ended.is_none() && !nobody_has(view)) {
        return None;
    }
    let numbers: BTreeSet<u16> = segments.values().map(|s| s.recorded.number).collect();
    let total = ended.or_else(|| numbers.last().copied())?;
    let expected = known.nodes.values().map(|held| held.expected).max().unwrap_or(0).max(total);
    let missing: Vec<String> =
        (1..=expected).filter(|n| !numbers.contains(n)).map(|n| n.to_string()).collect();
    let away = away(view);
    let mut told = Vec::new();
    if !missing.is_empty() {
        told.push(format!("nobody has segment number {}", missing.join(", ")));
    }
    if away > 0 {
        told.push(format!("{away} record servers could not be asked for a day"));
    }
    let is_whole = told.is_empty();
    let told = (!is_whole)
        .then(|| format!("a call is concluded without its proxy, and is not whole: {}", told.join("; ")));
    let least = if is_whole { Outcome::NoFailure } else { Outcome::Internal };
    Some(Verdict { total, least, told })
}

impl Synchronizer {
    /// Takes in whether a call looks left; none: not all have been heard.
    pub(super) fn mind_left(&mut self, now: Now, known: &mut Known, looks_left: Option<bool>) {
        match (looks_left, known.left) {
            (None, _) | (Some(true), Leaving::Certain) => {}
            (Some(false), _) => known.left = Leaving::No,
            (Some(true), Leaving::No) => {
                known.left = Leaving::Since(now.mono);
                self.wait_left(now, known, now.mono);
            }
            (Some(true), Leaving::Since(since)) => self.wait_left(now, known, since),
            (Some(true), Leaving::Asking { has_looked: true, .. }) => {
                known.left = Leaving::Certain;
                Self::wake_known(&mut self.agenda, known, now.mono);
            }
            // What is here could not be read.
            (Some(true), Leaving::Asking { since, .. }) if since + LIST_EVERY <= now.mono => {
                self.ask_once_more(now, known);
            }
            (Some(true), Leaving::Asking { .. }) => {}
        }
    }

    fn wait_left(&mut self, now: Now, known: &mut Known, since: Mono) {
        let after = self.terms.conclude_after;
        let all_are_there = self.up.len() >= self.terms.others;
        let until = since + if all_are_there { after } else { after.max(AWAY_FOR) };
        if until <= now.mono {
            self.ask_once_more(now, known);
        } else {
            Self::wake_known(&mut self.agenda, known, until);
        }
    }

    fn ask_once_more(&mut self, now: Now, known: &mut Known) {
        known.left = Leaving::Asking { since: now.mono, has_looked: false };
        known.heard.clear();
        known.list_at = now.mono;
        if known.at(self.terms.node).is_some_and(|own| own.ended.is_some()) {
            // Else it is looked at with each round.
            self.out.say(Step::Recall(known.key.clone()));
        }
        Self::wake_known(&mut self.agenda, known, now.mono);
    }
}
