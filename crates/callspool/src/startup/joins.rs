//! Joins of calls that nobody holds any more: those that a crash cut in half are completed, and those that people order
//! are made.

use std::collections::BTreeSet;
use std::io;
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use api::port::{Changed, JoinError, JoinedCalls};
use model::join::CALLS_MAX;
use model::{
    CallId, CallKey, ChangeKind, Incident, Join, JoinReason, SegmentRecord, TenantId, VolumeName, WallTime,
};
use spool::Files;
use spool::joining::{Half, is_concluded};
use spool::layout;

use super::{LOOK, Mender};
use crate::clock::now;
use crate::recorder::note_join;
use crate::repository::Repository;
use crate::whole::{ManifestFile, WholeCall};

/// How long a join waits while another call is concluded, which takes milliseconds.
const TURN: Duration = Duration::from_secs(5);
/// A call that is not concluded so long after its end never will be by who held it: its log misses a segment.
const GIVEN_UP: Duration = Duration::from_secs(60);

impl Mender {
    /// Joins that an earlier process did not get into both logs: their calls are concluded as one then.
    pub(super) fn complete_pending(&self, calls: &mut BTreeSet<String>) {
        let all = self.pending.all().unwrap_or_else(|e| {
            let text =
                format!("joins that are not noted yet cannot be read: {e}; the next start tries again");
            self.tell_unrepaired(&self.tenant, None, text);
            Vec::new()
        });
        // Those of this process are carried out by who holds them.
        for join in all.iter().filter(|join| join.at < self.begun) {
            let _one = self.concluding.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.complete(join) {
                continue;
            }
            calls.insert(Half::Into.directory(join));
            if let Err(e) = self.pending.done(join) {
                tracing::warn!("a join that is noted is looked at again by the next start: {e}");
            }
        }
    }

    /// The log in a directory was found to tell of joins that the other log does not. Those of this process may be
    /// under way.
    pub(crate) fn complete_found(&self, directory: &str, half_noted: &[Join]) {
        if half_noted.iter().any(|join| join.at < self.begun) {
            self.try_conclude(directory, Some(self.begun));
        }
    }

    /// Writes what is missing in the logs of two calls that are one; whether nothing is missing any more.
    pub(super) fn complete(&self, join: &Join) -> bool {
        let (into, from) = (join.into.call, join.from.call);
        let noted = self.note(join);
        match noted {
            Ok(()) => tracing::info!(%into, %from, "that two calls are one is noted in both logs"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let away = self.repository.away().next();
                tracing::warn!(%into, %from, "that two calls are one is not noted in both logs: {e}");
                return away.is_none();
            }
            Err(e) => {
                let text = format!(
                    "call {from} is this one, and not both their logs say so: {e}; the next start tries again"
                );
                self.teller.alarm(&join.into.tenant, Incident::Storage, Some(into), None, text);
                return false;
            }
        }
        true
    }

    /// The same, without a word of what fails.
    fn note(&self, join: &Join) -> io::Result<()> {
        let tell = |copy| self.teller.copy(&join.into.tenant, join.into.call, copy);
        note_join(&self.repository, self.node, join, tell, |directory| {
            let holds =
                |(name, volume): (VolumeName, Repository)| volume.list(directory).is_ok().then_some(name);
            self.repository.each().find_map(holds).and_then(|name| self.disks.get(&name).cloned())
        })
    }

    /// Joins two calls that are over, on behalf of `by`, and concludes them as one. Blocks on their disks.
    ///
    /// # Errors
    /// When there is no such call, one of them goes on, or a disk does not take it.
    pub(crate) fn join_over(
        &self,
        tenant: &TenantId,
        calls: [CallId; 2],
        by: &str,
    ) -> Result<JoinedCalls, JoinError> {
        let away =
            || JoinError::Away("another call is being concluded, and its disk does not answer".to_owned());
        let _one = self.turn().ok_or_else(away)?;
        let [a, b] = calls;
        let (a, b) = (self.over(tenant, a)?, self.over(tenant, b)?);
        if a.whole.call == b.whole.call {
            return Ok(JoinedCalls { call: a.whole.call, changed: Changed::No });
        }
        let (into, from) = if a.whole.call < b.whole.call { (a, b) } else { (b, a) };
        let join = of(&into, &from, tenant, by)?;
        self.write(&join)?;
        self.teller.tell(tenant.clone(), ChangeKind::Joined(join.clone()));
        tracing::info!(into = %join.into.call, from = %join.from.call, "two calls are one: {}", join.why.describe());
        if let Err(e) = self.conclude_alone(&Half::Into.directory(&join), None) {
            let text = format!("two calls are one, and it is not concluded: {e}; the next start does it");
            self.teller.alarm(tenant, Incident::Storage, Some(join.into.call), None, text);
        }
        Ok(JoinedCalls { call: join.into.call, changed: Changed::Yes })
    }

    /// Waits for a while until nobody concludes a call.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let until = Instant::now() + TURN;
        loop {
            match self.concluding.try_lock() {
                Ok(turn) => return Some(turn),
                Err(TryLockError::Poisoned(turn)) => return Some(turn.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOOK / 10),
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }

    /// A call that is over, from its files.
    fn over(&self, tenant: &TenantId, call: CallId) -> Result<Over, JoinError> {
        let failed = |e: io::Error| JoinError::Failed(e.to_string());
        let found = WholeCall::find(&self.repository, call).map_err(failed)?;
        let own = format!("{tenant}/");
        let Some(whole) = found.filter(|w| w.directory().starts_with(&own)) else {
            let away: Vec<String> = self.repository.away().map(ToString::to_string).collect();
            return Err(match away.is_empty() {
                true => JoinError::NoCall(call),
                false => JoinError::Away(format!(
                    "call {call} is not on the volumes that are there; away: {}",
                    away.join(", ")
                )),
            });
        };
        let segments = whole.recorded(&self.repository).map_err(failed)?;
        if let Some(problem) = segments.problems.into_iter().next() {
            return Err(JoinError::Failed(problem));
        }
        let sealed = segments.read.iter().all(|(_, file)| file.sealed);
        let ended = segments.read.iter().filter_map(|(s, _)| s.ended).max();
        let concluded = whole.pieces.first().is_some_and(|own| is_concluded(&own.lines, whole.call));
        let long_ago = || {
            ended.is_some_and(|end| {
                now().wall.nanos_since(end) > GIVEN_UP.as_nanos().try_into().unwrap_or(i64::MAX)
            })
        };
        if segments.read.is_empty() || !sealed || !(concluded || long_ago()) {
            let why = format!("call {call} is not concluded yet: try again in a moment");
            return Err(JoinError::NotAllowed(why));
        }
        Ok(Over { whole, segments: segments.read })
    }

    /// Writes both lines. What only one log took is a join all the same, which the next start completes.
    fn write(&self, join: &Join) -> Result<(), JoinError> {
        let failed = |e: io::Error| JoinError::Failed(e.to_string());
        self.pending.note(join).map_err(failed)?;
        let noted = self.note(join);
        if let Err(e) = noted {
            let lines = |half: Half| self.repository.log(&half.directory(join)).map(|(lines, _)| lines);
            let says = |half: Half| {
                lines(half).is_ok_and(|l| spool::log::joins_of(&l).iter().any(|j| j.is_of(join)))
            };
            if !says(Half::Into) && !says(Half::From) {
                let _ = self.pending.done(join);
                return Err(failed(e));
            }
            let text = format!(
                "call {} is this one, and not both their logs say so: {e}; the next start tries again",
                join.from.call
            );
            self.teller.alarm(&join.into.tenant, Incident::Storage, Some(join.into.call), None, text);
        } else if let Err(e) = self.pending.done(join) {
            tracing::warn!("a join that is noted is looked at again by the next start: {e}");
        }
        Ok(())
    }
}

/// A call that is over.
struct Over {
    whole: WholeCall,
    segments: Vec<(SegmentRecord, ManifestFile)>,
}

/// That two calls are one.
fn of(into: &Over, from: &Over, tenant: &TenantId, by: &str) -> Result<Join, JoinError> {
    if into.whole.pieces.len() + from.whole.pieces.len() > CALLS_MAX {
        let why = format!("together they would be more than {CALLS_MAX} calls");
        return Err(JoinError::NotAllowed(why));
    }
    let last = into.segments.iter().map(|(s, _)| s.number).max().unwrap_or(0);
    let count = u16::try_from(from.segments.len()).ok().and_then(|count| last.checked_add(count));
    let Some(total) = count else {
        return Err(JoinError::NotAllowed(
            "together they would have more segments than a call has".to_owned(),
        ));
    };
    let numbers = from.segments.iter().zip(last + 1..=total).map(|((s, _), n)| (s.id, n)).collect();
    let lines = [&into.whole, &from.whole].into_iter().flat_map(|w| w.pieces.iter().flat_map(|p| &p.lines));
    // Behind all that the logs say, also when the clock was set back: what they had come to is taken back.
    let newest = lines.map(|line| line.at).max();
    let at =
        newest.map_or(now().wall, |newest| now().wall.max(newest + Duration::from_micros(1))).to_micros();
    Ok(Join {
        into: key(into, tenant)?,
        from: key(from, tenant)?,
        numbers,
        total,
        at,
        why: JoinReason::Person(by.to_owned()),
    })
}

/// What names a call and its directory.
fn key(of: &Over, tenant: &TenantId) -> Result<CallKey, JoinError> {
    let (call, directory) = (of.whole.call, of.whole.directory());
    let names = |began: &WallTime| layout::call_directory(tenant, *began, call) == directory;
    let said = of.whole.joins.iter().find(|j| j.into.call == call).map(|j| j.into.call_started);
    let own = of.segments.iter().filter(|(_, file)| file.recorded_as.is_none());
    let first = own.map(|(s, _)| s.started).min();
    let call_started = [said, first].into_iter().flatten().find(names);
    let call_started = call_started
        .ok_or_else(|| JoinError::Failed(format!("{directory} is not named by its first segment")))?;
    Ok(CallKey { call, call_started, tenant: tenant.clone() })
}
