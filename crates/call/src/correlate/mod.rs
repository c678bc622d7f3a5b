//! Which call a dialog is of, by what its requests say.
//!
//! Everything is recorded at once; this tells only as what. A dialog is of a call
//!
//! 1. that has the dialog which it names (Replaces, Join, Target-Dialog),
//! 2. with which it shares a Session-ID (RFC 7989),
//! 3. with which it shares the id of a vendor or of SIPREC metadata,
//! 4. that was on hold on its line, with the same other party, and not for too long.
//!
//! What is said later may show that two calls are one. Ids are looked for among the calls of one tenant; those that can
//! be guessed, among those that came by the same trunk. An id that is on too many dialogs tells nothing: it is not
//! looked at any more.
//!
//! It holds ids and which call has them, knows neither segments nor sides, and reads no clock.

mod ids;
mod signs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{CallId, JoinReason, Mono, TenantId};
use serde::{Deserialize, Serialize};

pub(crate) use self::ids::{Key, Line, Said, read};

/// Ids kept of a call: some ten for each of its dialogs, of which it has two or three.
const KEYS_MAX: usize = 128;
/// Ids that are on too many dialogs, remembered so that they are not taken for ids again.
const WORN_MAX: usize = 1_024;
/// How long after a hang-up that may have been a hold the same line with the same other party is taken to be the same
/// call. Most holds are shorter, and few who hang up are called back so soon.
pub(crate) const PERHAPS_HELD: Duration = Duration::from_secs(120);

/// Whose dialog it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) trunk: Arc<str>,
}

/// How the last segment of a call ended that has none now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// By a hold.
    Held,
    /// By what some clients send for a hold too.
    PerhapsHeld,
    /// By a hang-up.
    Over,
}

/// An id, and among whose calls it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Scoped {
    tenant: TenantId,
    /// Only calls of this trunk; none: all of the tenant.
    trunk: Option<Arc<str>>,
    key: Key,
}

impl Scoped {
    fn of(owner: &Owner, key: &Key) -> Self {
        let trunk = key.is_guessable().then(|| Arc::clone(&owner.trunk));
        Self { tenant: owner.tenant.clone(), trunk, key: key.clone() }
    }

    /// What a call is found by that has it.
    pub(crate) fn reason(&self) -> JoinReason {
        self.key.reason()
    }
}

/// What is known of a call, as another front needs it to carry the call on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownForm {
    keys: Vec<Scoped>,
    lines: Vec<(TenantId, Arc<str>, Line)>,
    far: Vec<String>,
    #[serde(default)]
    named: Vec<Scoped>,
}

/// What is known of a call.
#[derive(Debug, Default)]
struct Known {
    keys: BTreeSet<Scoped>,
    /// Dialogs that it named: one that is not known here may be known elsewhere.
    named: BTreeSet<Scoped>,
    lines: BTreeSet<(TenantId, Arc<str>, Line)>,
    /// Ids of the other party's leg: two calls that have different ones are never one by their line.
    far: BTreeSet<String>,
    rest: Option<(Mono, Rest)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Correlator {
    calls: BTreeMap<CallId, Known>,
    by_key: BTreeMap<Scoped, CallId>,
    /// The newest call of each line.
    by_line: BTreeMap<(TenantId, Arc<str>, Line), CallId>,
    worn: BTreeSet<Scoped>,
    /// The same, the oldest first.
    worn_in_order: VecDeque<Scoped>,
}

impl Correlator {
    /// The calls that a dialog which says this is of, the oldest first, and why.
    pub(crate) fn find(
        &self,
        now: Mono,
        owner: &Owner,
        said: &Said,
        held: Duration,
    ) -> Vec<(CallId, JoinReason)> {
        let named = said.named.iter().chain(&said.keys);
        let mut found: BTreeMap<CallId, JoinReason> = BTreeMap::new();
        for key in named {
            let scoped = Scoped::of(owner, key);
            if let Some(call) = self.by_key.get(&scoped).filter(|_| !self.worn.contains(&scoped)) {
                found.entry(*call).or_insert_with(|| key.reason());
            }
        }
        if found.is_empty() {
            found.extend(self.by_line(now, owner, said, held).map(|call| (call, JoinReason::Line)));
        }
        found.into_iter().collect()
    }

    /// The call that was on hold on this line, if nothing speaks against it.
    fn by_line(&self, now: Mono, owner: &Owner, said: &Said, held: Duration) -> Option<CallId> {
        let line = said.line.clone()?;
        let call = self.by_line.get(&(owner.tenant.clone(), Arc::clone(&owner.trunk), line))?;
        let known = self.calls.get(call)?;
        let (since, rest) = known.rest?;
        let within = match rest {
            Rest::Held => held,
            Rest::PerhapsHeld => PERHAPS_HELD.min(held),
            Rest::Over => return None,
        };
        let another = !known.far.is_empty() && !said.far.is_empty() && known.far.is_disjoint(&said.far);
        (!another && now.since(since) < within).then_some(*call)
    }

    /// A call has these ids.
    pub(crate) fn learn(&mut self, call: CallId, owner: &Owner, said: &Said) {
        let known = self.calls.entry(call).or_default();
        for key in said.own.iter().chain(&said.keys) {
            let scoped = Scoped::of(owner, key);
            if known.keys.len() >= KEYS_MAX || self.worn.contains(&scoped) {
                continue;
            }
            // Another call may have it: then they are about to become one.
            if *self.by_key.entry(scoped.clone()).or_insert(call) == call {
                known.keys.insert(scoped);
            }
        }
        let named = said.named.iter().map(|key| Scoped::of(owner, key));
        known.named.extend(named.take(KEYS_MAX.saturating_sub(known.named.len())));
        known.far.extend(said.far.iter().take(KEYS_MAX.saturating_sub(known.far.len())).cloned());
        if let Some(line) = &said.line {
            let line = (owner.tenant.clone(), Arc::clone(&owner.trunk), line.clone());
            if known.lines.len() < KEYS_MAX {
                known.lines.insert(line.clone());
                self.by_line.insert(line, call);
            }
        }
    }

    /// What is known of a call.
    pub(crate) fn portrait(&self, call: CallId) -> KnownForm {
        let Some(known) = self.calls.get(&call) else { return KnownForm::default() };
        KnownForm {
            keys: known.keys.iter().cloned().collect(),
            lines: known.lines.iter().cloned().collect(),
            far: known.far.iter().cloned().collect(),
            named: known.named.iter().cloned().collect(),
        }
    }

    /// Another front knew this of a call.
    pub(crate) fn adopt(&mut self, call: CallId, form: KnownForm) {
        let known = self.calls.entry(call).or_default();
        for key in form.keys.into_iter().take(KEYS_MAX).filter(|key| !self.worn.contains(key)) {
            if *self.by_key.entry(key.clone()).or_insert(call) == call {
                known.keys.insert(key);
            }
        }
        for line in form.lines.into_iter().take(KEYS_MAX) {
            self.by_line.insert(line.clone(), call);
            known.lines.insert(line);
        }
        known.far.extend(form.far.into_iter().take(KEYS_MAX));
        known.named.extend(form.named.into_iter().take(KEYS_MAX));
    }

    /// The last segment of a call ended.
    pub(crate) fn rests(&mut self, call: CallId, now: Mono, rest: Rest) {
        if let Some(known) = self.calls.get_mut(&call) {
            known.rest = Some((now, rest));
        }
    }

    /// A call is recorded again.
    pub(crate) fn goes_on(&mut self, call: CallId) {
        if let Some(known) = self.calls.get_mut(&call) {
            known.rest = None;
        }
    }

    /// Whether anything can show later that something is of this call.
    pub(crate) fn is_known(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|known| known.keys.iter().any(|k| k.key.lasts()))
    }

    /// The ids of a call, and the dialogs that it named: what has one of them elsewhere is of it.
    pub(crate) fn ids(&self, call: CallId) -> impl Iterator<Item = &Scoped> {
        let known = self.calls.get(&call).into_iter();
        known.flat_map(|known| known.keys.iter().chain(&known.named)).filter(|id| !self.worn.contains(id))
    }

    /// Two calls are one: what was the one's is the other's.
    pub(crate) fn join(&mut self, from: CallId, into: CallId) {
        let Some(gone) = self.calls.remove(&from) else { return };
        let known = self.calls.entry(into).or_default();
        for key in gone.keys {
            self.by_key.insert(key.clone(), into);
            known.keys.insert(key);
        }
        for line in gone.lines {
            self.by_line.insert(line.clone(), into);
            known.lines.insert(line);
        }
        known.far.extend(gone.far);
        known.named.extend(gone.named);
        known.rest = match (known.rest, gone.rest) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { b } else { a }),
            _ => None,
        };
    }

    /// Nothing more will be of this call.
    pub(crate) fn forget(&mut self, call: CallId) {
        let Some(gone) = self.calls.remove(&call) else { return };
        for key in gone.keys {
            if self.by_key.get(&key) == Some(&call) {
                self.by_key.remove(&key);
            }
        }
        for line in gone.lines {
            if self.by_line.get(&line) == Some(&call) {
                self.by_line.remove(&line);
            }
        }
    }

    /// What a dialog shares with a call that has too many is no id. The names of what is not looked at any more.
    pub(crate) fn wear_out(&mut self, call: CallId, owner: &Owner, said: &Said) -> Vec<String> {
        let mut names = Vec::new();
        for key in &said.keys {
            let scoped = Scoped::of(owner, key);
            if self.by_key.get(&scoped) == Some(&call) {
                self.by_key.remove(&scoped);
                names.push(key.reason().describe());
                if self.worn.insert(scoped.clone()) {
                    self.worn_in_order.push_back(scoped);
                }
            }
        }
        let over = self.worn_in_order.len().saturating_sub(WORN_MAX);
        for oldest in self.worn_in_order.drain(..over) {
            self.worn.remove(&oldest);
        }
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests;
