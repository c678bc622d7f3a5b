//! The machine that makes alarms of observations.
//!
//! ```text
//!              bad             bad for raise_after, and the pause is over
//!  (nothing) ──────► suspected ──────────────────────────────────────────► raised ──► told
//!      ▲                │ not bad                          bad │  ▲             │ good for clear_after
//!      └────────────────┘                     good, but not for long            ▼
//!      ▲                                                                    resting ──► told as cleared
//!      └──────────────────── pause over, and not bad again ────────────────────┘
//! ```
//!
//! Conditions are kept by what they are and what they are about, incidents by these and their text, so the same
//! one is told once and counted. Both maps are bounded: beyond the limit incidents are merged into one about the
//! node, and further conditions are counted and told as a lost order is. Nothing here waits or reads a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Alarm, Condition, Incident, Occurrence, Subject, short};
use crate::id::{CallId, NodeNumber, SegmentId, TenantId};
use crate::time::{Mono, Now, WallTime};

/// Limits of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AlarmRules {
    /// From one telling of a condition to the next, and the time in which the same incident is counted only.
    pub pause: Duration,
    /// Conditions, and incidents, that are kept at most: each is some hundred octets.
    pub subjects_max: usize,
}

impl Default for AlarmRules {
    fn default() -> Self {
        Self { pause: Duration::from_secs(600), subjects_max: 10_000 }
    }
}

/// How something looks that may be an alarm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Beyond the threshold; the text says what is the case and what to do.
    Bad(String),
    /// Between the threshold to raise and the one to clear: what is raised stays, what is not is not raised.
    Between,
    /// As it should be.
    Good,
}

/// Whom and what an observation concerns beside its subject.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// The owner.
    pub tenant: TenantId,
    /// The call.
    pub call: Option<CallId>,
    /// The segment: when it ends, what was raised about it is over.
    pub segment: Option<SegmentId>,
}

type ConditionKey = (Condition, Subject);
type IncidentKey = (Incident, Subject, String);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Condition(ConditionKey),
    Incident(IncidentKey),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Suspected,
    Raised,
    Recovering,
    Resting,
}

#[derive(Clone, Debug)]
struct Watched {
    about: About,
    phase: Phase,
    text: String,
    raised: WallTime,
    /// When it was told last; none before the first time.
    told: Option<Mono>,
    count: u64,
    due: Option<Mono>,
}

#[derive(Clone, Debug)]
struct Merged {
    tenant: TenantId,
    call: Option<CallId>,
    segment: Option<SegmentId>,
    raised: WallTime,
    count: u64,
    told: u64,
    due: Mono,
}

/// See the module.
#[derive(Debug)]
pub struct Alarms {
    rules: AlarmRules,
    node: NodeNumber,
    conditions: BTreeMap<ConditionKey, Watched>,
    incidents: BTreeMap<IncidentKey, Merged>,
    by_segment: BTreeMap<SegmentId, BTreeSet<ConditionKey>>,
    due: BTreeSet<(Mono, Key)>,
    out: VecDeque<(TenantId, Alarm)>,
}

impl Alarms {
    /// Without alarms.
    #[must_use]
    pub fn new(node: NodeNumber, rules: AlarmRules) -> Self {
        Self {
            rules,
            node,
            conditions: BTreeMap::new(),
            incidents: BTreeMap::new(),
            by_segment: BTreeMap::new(),
            due: BTreeSet::new(),
            out: VecDeque::new(),
        }
    }

    /// Other limits from now on; what waits for a pause waits for the one that it began with.
    pub const fn configure(&mut self, rules: AlarmRules) {
        self.rules = rules;
    }

    /// The next alarm to tell, and whose it is.
    pub fn poll(&mut self) -> Option<(TenantId, Alarm)> {
        self.out.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The conditions that are raised now.
    pub fn active(&self) -> impl Iterator<Item = (&TenantId, Alarm)> {
        let raised = self.conditions.iter().filter(|(_, w)| w.is_raised());
        raised.map(|(key, w)| (&w.about.tenant, w.alarm(key, None)))
    }

    /// Tells all that is raised once more: a catalog that is new knows none of it.
    pub fn tell_again(&mut self) {
        let again: Vec<_> = self.active().map(|(tenant, alarm)| (tenant.clone(), alarm)).collect();
        self.out.extend(again);
    }

    /// Something happened.
    pub fn occurred(&mut self, now: Now, occurrence: Occurrence) {
        let Occurrence { tenant, incident, call, segment, text } = occurrence;
        let (mut subject, mut text) = (self.subject(call, segment), short(&text));
        if self.incidents.len() >= self.rules.subjects_max
            && !self.incidents.contains_key(&(incident, subject.clone(), text.clone()))
        {
            subject = Subject::Node(self.node);
            "more of this than can be told one by one; the log has each".clone_into(&mut text);
        }
        let key = (incident, subject, text);
        if let Some(merged) = self.incidents.get_mut(&key) {
            merged.count += 1;
            return;
        }
        let due = now.mono + self.rules.pause;
        let raised = now.wall.to_micros();
        let merged = Merged { tenant, call, segment, raised, count: 1, told: 1, due };
        self.out.push_back((merged.tenant.clone(), merged.alarm(&key)));
        self.due.insert((due, Key::Incident(key.clone())));
        self.incidents.insert(key, merged);
    }

    /// How something looks now.
    pub fn observe(&mut self, now: Now, condition: Condition, subject: &Subject, about: &About, seen: Seen) {
        let key = (condition, subject.clone());
        let Some(mut watched) = self.take(&key) else {
            if let Seen::Bad(text) = seen {
                self.suspect(now, key, about, text);
            }
            return;
        };
        match (watched.phase, seen) {
            (Phase::Suspected, Seen::Bad(text)) => watched.text = short(&text),
            (Phase::Suspected, _) => {
                // Told of before: its pause goes on. Else it was nothing.
                let Some(told) = watched.told else { return };
                watched.phase = Phase::Resting;
                watched.due = Some(told + self.rules.pause);
            }
            (Phase::Raised, Seen::Good) => {
                watched.phase = Phase::Recovering;
                watched.due = Some(now.mono + condition.clear_after());
            }
            (Phase::Raised, Seen::Bad(text)) => watched.text = short(&text),
            (Phase::Recovering, Seen::Bad(text)) => {
                watched.text = short(&text);
                watched.count += 1;
                (watched.phase, watched.due) = (Phase::Raised, None);
            }
            (Phase::Recovering, Seen::Between) => (watched.phase, watched.due) = (Phase::Raised, None),
            (Phase::Resting, Seen::Bad(text)) => {
                watched.text = short(&text);
                watched.count += 1;
                watched.phase = Phase::Suspected;
                let pause_over = watched.told.map_or(now.mono, |told| told + self.rules.pause);
                watched.due = Some((now.mono + condition.raise_after()).max(pause_over));
            }
            (Phase::Raised, Seen::Between)
            | (Phase::Recovering, Seen::Good)
            | (Phase::Resting, Seen::Between | Seen::Good) => {}
        }
        self.put(key, watched);
        self.handle_timeout(now);
    }

    /// A segment has ended: what was raised about it is over, without a wait.
    pub fn segment_ended(&mut self, now: Now, segment: SegmentId) {
        for key in self.by_segment.remove(&segment).unwrap_or_default() {
            if let Some(watched) = self.take(&key)
                && watched.is_raised()
            {
                self.out.push_back((watched.about.tenant.clone(), watched.alarm(&key, Some(now.wall))));
            }
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while self.due.first().is_some_and(|(at, _)| *at <= now.mono) {
            match self.due.pop_first() {
                Some((_, Key::Condition(key))) => self.condition_due(now, key),
                Some((_, Key::Incident(key))) => self.incident_due(now, key),
                None => return,
            }
        }
    }

    fn condition_due(&mut self, now: Now, key: ConditionKey) {
        let Some(mut watched) = self.take(&key) else { return };
        match watched.phase {
            Phase::Suspected => {
                watched.phase = Phase::Raised;
                // It names the alarm, on the way through files too.
                (watched.raised, watched.told, watched.due) = (now.wall.to_micros(), Some(now.mono), None);
                self.out.push_back((watched.about.tenant.clone(), watched.alarm(&key, None)));
            }
            Phase::Recovering => {
                self.out.push_back((watched.about.tenant.clone(), watched.alarm(&key, Some(now.wall))));
                watched.phase = Phase::Resting;
                // What comes back within the pause is counted from here.
                watched.count = 0;
                watched.due = watched.told.map(|told| (told + self.rules.pause).max(now.mono + CLEARED_KEPT));
            }
            Phase::Resting => return,
            Phase::Raised => watched.due = None,
        }
        self.put(key, watched);
    }

    /// The pause of an incident is over: what was counted meanwhile is told.
    fn incident_due(&mut self, now: Now, key: IncidentKey) {
        let Some(mut merged) = self.incidents.remove(&key) else { return };
        if merged.count > merged.told {
            merged.told = merged.count;
            merged.due = now.mono + self.rules.pause;
            self.out.push_back((merged.tenant.clone(), merged.alarm(&key)));
            self.due.insert((merged.due, Key::Incident(key.clone())));
            self.incidents.insert(key, merged);
        }
    }

    fn suspect(&mut self, now: Now, key: ConditionKey, about: &About, text: String) {
        if self.conditions.len() >= self.rules.subjects_max {
            let text = "more alarms at once than can be kept; further ones are not told: see the metrics";
            return self.occurred(
                now,
                Occurrence {
                    tenant: about.tenant.clone(),
                    incident: Incident::Limit,
                    call: None,
                    segment: None,
                    text: text.to_owned(),
                },
            );
        }
        let watched = Watched {
            about: about.clone(),
            phase: Phase::Suspected,
            text: short(&text),
            raised: now.wall,
            told: None,
            count: 1,
            due: Some(now.mono + key.0.raise_after()),
        };
        self.put(key, watched);
        self.handle_timeout(now);
    }

    fn take(&mut self, key: &ConditionKey) -> Option<Watched> {
        let watched = self.conditions.remove(key)?;
        if let Some(due) = watched.due {
            self.due.remove(&(due, Key::Condition(key.clone())));
        }
        if let Some(segment) = watched.about.segment
            && let Some(keys) = self.by_segment.get_mut(&segment)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_segment.remove(&segment);
            }
        }
        Some(watched)
    }

    fn put(&mut self, key: ConditionKey, watched: Watched) {
        if let Some(due) = watched.due {
            self.due.insert((due, Key::Condition(key.clone())));
        }
        if let Some(segment) = watched.about.segment {
            self.by_segment.entry(segment).or_default().insert(key.clone());
        }
        self.conditions.insert(key, watched);
    }

    fn subject(&self, call: Option<CallId>, segment: Option<SegmentId>) -> Subject {
        match (segment, call) {
            (Some(segment), _) => Subject::Segment(segment),
            (None, Some(call)) => Subject::Call(call),
            (None, None) => Subject::Node(self.node),
        }
    }
}

/// A condition that was cleared is remembered at least so long, so that the same one at once is the same one.
const CLEARED_KEPT: Duration = Duration::from_secs(1);

impl Watched {
    const fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Raised | Phase::Recovering)
    }

    fn alarm(&self, (condition, subject): &ConditionKey, cleared: Option<WallTime>) -> Alarm {
        Alarm {
            kind: (*condition).into(),
            severity: condition.severity(),
            subject: subject.clone(),
            call: self.about.call,
            segment: self.about.segment,
            raised: self.raised,
            cleared,
            count: self.count.max(1),
            text: self.text.clone(),
        }
    }
}

impl Merged {
    fn alarm(&self, (incident, subject, text): &IncidentKey) -> Alarm {
        Alarm {
            kind: (*incident).into(),
            severity: incident.severity(),
            subject: subject.clone(),
            call: self.call,
            segment: self.segment,
            raised: self.raised,
            cleared: None,
            count: self.count,
            text: text.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
