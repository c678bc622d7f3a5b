//! Who asks for a pause or a stop, told in another way than the front does it: by dialog, and by which dialogs are of one
//! call at the moment, however they came to be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use model::peer::Flowing;
use model::{CallId, OpenSegment};
use sip::SessionId;

use crate::world::{Asked, World};

/// How somebody asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Order,
    Header,
    Metadata,
    Sdp,
}

/// Somebody asks for a pause of the call that this dialog is of.
#[derive(Clone, Copy, Debug)]
struct Pause {
    dialog: u64,
    by: By,
    /// The second at which it ends by itself.
    until: Option<u64>,
}

/// Somebody stopped the call that this dialog is of.
#[derive(Clone, Copy, Debug)]
struct Stop {
    dialog: u64,
    by: By,
}

/// What the client of a dialog said last.
#[derive(Clone, Copy, Default, Debug)]
struct Said {
    inactive: bool,
    paused: bool,
    /// Its lines became inactive when its metadata had said what it means, and did not pause any more.
    pauses_again: bool,
}

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Asks {
    now: u64,
    /// What a line means on which nothing is sent.
    inactive_pauses: bool,
    /// Where dialogs come by two trunks: those of odd numbers by one, the others by the other.
    two_trunks: bool,
    pauses: Vec<Pause>,
    stops: Vec<Stop>,
    said: BTreeMap<u64, Said>,
    live: BTreeSet<u64>,
    /// Dialogs that each began a call; the others came to one of another dialog.
    founders: BTreeSet<u64>,
}

/// Where the dialogs of a trunk come from.
pub(crate) fn address(trunk: u64) -> IpAddr {
    IpAddr::from([127, 0, 0, u8::try_from(trunk).unwrap() + 1])
}

impl Asks {
    pub(crate) fn new(inactive: Flowing, two_trunks: bool) -> Self {
        Self { inactive_pauses: inactive == Flowing::Paused, two_trunks, ..Self::default() }
    }

    pub(crate) fn trunk(&self, dialog: u64) -> u64 {
        if self.two_trunks { dialog % 2 } else { 0 }
    }

    /// The call that a dialog is of now.
    fn call(&self, world: &World, dialog: u64) -> Option<CallId> {
        world.call_of(SessionId(dialog))
    }

    /// Whether two dialogs are of one call now.
    fn one(&self, world: &World, a: u64, b: u64) -> bool {
        a == b || (self.call(world, a).is_some() && self.call(world, a) == self.call(world, b))
    }

    /// What a step of a dialog asks for, before it is played.
    pub(crate) fn hear(&mut self, world: &World, dialog: u64, step: &str) {
        let own = |by: By| move |p: &Pause| p.dialog == dialog && p.by == by;
        let told = self.pauses.iter().any(own(By::Metadata));
        let said = self.said.entry(dialog).or_default();
        let offers_again = step == "reinvite sendonly" && said.inactive;
        match step {
            "metadata paused" => said.paused = true,
            "metadata active" => (said.paused, said.pauses_again) = (false, false),
            "reinvite inactive" => {
                said.pauses_again |= !said.inactive && said.paused && !told;
                said.inactive = true;
            }
            "reinvite sendonly" => (said.inactive, said.pauses_again) = (false, false),
            _ => {}
        }
        if step.starts_with("order ") && self.call(world, dialog).is_none() {
            return;
        }
        match step {
            "order pause" => self.ask(world, dialog, By::Order, None),
            "order pause 3s" => self.ask(world, dialog, By::Order, Some(self.now + 3)),
            "order resume" => {
                let of_call = self.of_call(world, dialog);
                self.pauses.retain(|p| p.by == By::Sdp || !of_call.contains(&p.dialog));
            }
            "info Record: off" => self.ask(world, dialog, By::Header, None),
            "info Record: on" => {
                self.pauses.retain(|p| !own(By::Header)(p) && !own(By::Metadata)(p));
                self.end_left(world, dialog);
            }
            "metadata paused" => self.ask(world, dialog, By::Metadata, None),
            "metadata active" => self.end_metadata(world, dialog),
            "reinvite sendonly" if offers_again => self.end_metadata(world, dialog),
            "order stop" => self.stops.push(Stop { dialog, by: By::Order }),
            "info X-AC-Action: stop-siprec" => self.stops.push(Stop { dialog, by: By::Header }),
            "order start" => {
                let of_call = self.of_call(world, dialog);
                self.stops.retain(|s| !of_call.contains(&s.dialog));
            }
            "info X-AC-Action: start-siprec" => {
                let of_call = self.of_call(world, dialog);
                let trunk = self.trunk(dialog);
                let ordered = self.stops.iter().any(|s| s.by == By::Order && of_call.contains(&s.dialog));
                let own: Vec<u64> = of_call.into_iter().filter(|d| self.trunk(*d) == trunk).collect();
                self.stops.retain(|s| ordered || s.by == By::Order || !own.contains(&s.dialog));
            }
            _ => {}
        }
        let said = self.said[&dialog];
        self.pauses.retain(|p| !own(By::Sdp)(p));
        if (self.inactive_pauses && said.inactive) || said.pauses_again {
            self.pauses.push(Pause { dialog, by: By::Sdp, until: None });
        }
    }

    /// What follows once it was played.
    pub(crate) fn heard(&mut self, world: &World, dialog: u64, step: &str) {
        if step.starts_with("invite") {
            self.live.insert(dialog);
            let own = format!("s{dialog}@b");
            if world.open.last().is_some_and(|(open, _)| open.data.sip_call_ids.iter().eq([&own])) {
                self.founders.insert(dialog);
            }
        } else if step.starts_with("bye") {
            self.live.remove(&dialog);
            self.pauses.retain(|p| p.by != By::Sdp || p.dialog != dialog);
            let of_call = self.of_call(world, dialog);
            if of_call.is_disjoint(&self.live) {
                self.pauses.retain(|p| p.by == By::Order || !of_call.contains(&p.dialog));
            }
        }
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        self.pauses.retain(|p| p.until.is_none_or(|until| until > now));
    }

    fn ask(&mut self, world: &World, dialog: u64, by: By, until: Option<u64>) {
        let same = |p: &Pause| {
            p.by == by && if by == By::Order { self.one(world, p.dialog, dialog) } else { p.dialog == dialog }
        };
        // Asked again, it ends no sooner.
        let longest = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.max(b));
        let until = self.pauses.iter().filter(|p| same(p)).fold(until, |until, p| longest(until, p.until));
        let kept: Vec<Pause> = self.pauses.iter().filter(|p| !same(p)).copied().collect();
        self.pauses = kept;
        self.pauses.push(Pause { dialog, by, until });
    }

    fn end_metadata(&mut self, world: &World, dialog: u64) {
        let before = self.pauses.len();
        self.pauses.retain(|p| p.dialog != dialog || p.by != By::Metadata);
        if self.pauses.len() < before {
            self.end_left(world, dialog);
        }
    }

    /// A dialog speaks for those of its trunk that are over.
    fn end_left(&mut self, world: &World, dialog: u64) {
        let of_call = self.of_call(world, dialog);
        let (trunk, live) = (self.trunk(dialog), self.live.clone());
        let is_left =
            |p: &Pause| p.by != By::Order && of_call.contains(&p.dialog) && !live.contains(&p.dialog);
        let two = self.two_trunks;
        self.pauses.retain(|p| !is_left(p) || (two && p.dialog % 2 != trunk));
    }

    fn of_call(&self, world: &World, dialog: u64) -> BTreeSet<u64> {
        self.said.keys().copied().filter(|d| self.one(world, *d, dialog)).collect()
    }

    /// Whether what a dialog asks for reaches what came by a trunk, of the same call: its own, or where that came as a
    /// guest to a call that its own trunk began.
    fn reaches(&self, world: &World, call: CallId, by: By, from: u64, trunk: u64) -> bool {
        let mut others =
            self.said.keys().filter(|d| self.trunk(**d) == trunk && self.call(world, **d) == Some(call));
        let is_guest = others.all(|dialog| !self.founders.contains(dialog));
        by == By::Order || self.trunk(from) == trunk || is_guest
    }

    /// Each stream that receives is kept only if nobody asks for a pause or a stop of it; where dialogs come by one trunk,
    /// it is kept if nobody does.
    pub(crate) fn check(&self, world: &World) -> Result<(), String> {
        let is_opening = |open: &OpenSegment| {
            world.unanswered.iter().any(|(s, _, a)| *s == open.segment && *a == Asked::Open)
        };
        for (open, _) in world.open.iter().filter(|(open, end)| end.is_none() && !is_opening(open)) {
            // Its call may have become another since.
            let mut of_it = open.data.sip_call_ids.iter();
            let dialog = of_it.find_map(|id| id.trim_start_matches('s').trim_end_matches("@b").parse().ok());
            let Some(call) = dialog.and_then(|dialog| self.call(world, dialog)) else { continue };
            for stream in &world.wanted[&open.segment] {
                let trunk = match stream.remote.as_ref().map(SocketAddr::ip) {
                    Some(ip) if self.two_trunks => u64::from(ip == address(1)),
                    Some(_) => 0,
                    // Its client has not answered yet.
                    None if self.two_trunks => continue,
                    None => 0,
                };
                let mut pauses = self.pauses.iter().filter(|p| self.call(world, p.dialog) == Some(call));
                let asked = pauses.clone().any(|p| self.reaches(world, call, p.by, p.dialog, trunk));
                let anybody = pauses.next().is_some();
                let kept = !world.paused[&open.segment] && stream.flowing == Flowing::Active;
                if kept && asked {
                    return Err(format!("kept although somebody asks for a pause: {open:?}\n{self:?}"));
                }
                let may_be = stream.flowing != Flowing::Held && !self.said_inactive(world, call);
                if !kept && may_be && !(asked || (self.two_trunks && anybody)) {
                    return Err(format!("not kept although nobody asks for a pause: {open:?}\n{self:?}"));
                }
                let mut stops = self.stops.iter().filter(|s| self.call(world, s.dialog) == Some(call));
                if let Some(stop) = stops.find(|s| self.reaches(world, call, s.by, s.dialog, trunk)) {
                    return Err(format!("recorded although stopped: {stop:?} {open:?}\n{self:?}"));
                }
            }
        }
        Ok(())
    }

    /// Whether a dialog of the call has lines on which nothing is sent: its own streams are not kept then.
    fn said_inactive(&self, world: &World, call: CallId) -> bool {
        let mut inactive = self.said.iter().filter(|(_, said)| said.inactive);
        inactive.any(|(dialog, _)| self.call(world, *dialog) == Some(call))
    }
}
