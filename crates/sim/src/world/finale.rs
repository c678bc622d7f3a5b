//! What must hold of copies whenever one may be lost, and of everything in the end.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallId, CallKey, CopyOf, EndReason, Outcome, RecordingState, SegmentId, SegmentRecord, copy};
use spool::memory::Sealed;
use spool::{Files, layout, log, manifest, mka, verify};

use super::World;
use crate::callers::packet_of;
use crate::server::Server;
use crate::truth::pauses::Secrecy;
use crate::truth::{Answer, Packet};

/// What a recording has of a call.
struct Recording {
    state: RecordingState,
    segments: Vec<SegmentRecord>,
    packets: BTreeMap<Packet, SegmentId>,
}

impl World {
    /// Where the files of a call are.
    pub(crate) fn directory(key: &CallKey) -> String {
        layout::call_directory(&key.tenant, key.call_started, key.call)
    }

    /// Each segment that was sealed and durable is somewhere as it was sealed, durably, and not given up there.
    pub(super) fn look_at_copies(&mut self) {
        let at_risk = std::mem::take(&mut self.core.copies_at_risk);
        if at_risk.is_empty() {
            return;
        }
        let mut sealed = self.core.truth.sealed.iter();
        let missing = sealed.find(|(segment, (key, files))| {
            at_risk.contains(&Self::directory(key)) && !self.is_safe(key, **segment, files)
        });
        if let Some(segment) = missing.map(|(segment, _)| *segment) {
            self.core.violated(format!("segment {segment} is nowhere for certain"));
        }
    }

    fn is_safe(&self, key: &CallKey, segment: SegmentId, sealed: &Sealed) -> bool {
        self.servers.iter().any(|server| server.disk.disk.has(server.number, key, segment, sealed))
    }

    /// Everything is looked at once more when nothing happens any more.
    pub(super) fn look_at_the_end(&mut self) {
        if let Some(held) = self.servers.iter().find_map(Server::holds) {
            return self.core.violated(format!("something stays: {held}"));
        }
        let calls: Vec<CallId> = self.core.truth.calls.keys().copied().collect();
        for call in calls {
            if let Err(why) = self.look_at_call(call) {
                self.core.violated(why);
            }
        }
    }

    fn look_at_call(&self, call: CallId) -> Result<(), String> {
        let Some(of) = self.core.truth.calls.get(&call) else { return Ok(()) };
        self.look_at_segments(&of.key)?;
        if self.core.truth.is_left_alone(call) {
            return Err(format!("call {call} was left by its proxy, and nobody carried it on who could"));
        }
        if self.is_nothing(call) {
            return Ok(());
        }
        // A log that says more than was asked about when its copies were given up stays.
        let is_here = |server: &&Server| records(server, &of.key).is_ok_and(|found| !found.is_empty());
        let holders: Vec<&Server> = self.servers.iter().filter(is_here).collect();
        if holders.is_empty() && self.is_swallowed(call) {
            return Ok(());
        }
        let [holder] = holders[..] else {
            let names: Vec<String> = holders.iter().map(|server| server.name.to_string()).collect();
            let left = self.left_to_do(&of.key);
            return Err(format!("call {call} is at {names:?} in the end; left to do: {left:#?}"));
        };
        let recording = Self::recording(holder, &of.key)
            .map_err(|why| format!("{why}; left to do: {:#?}", self.left_to_do(&of.key)))?;
        self.look_at_state(holder, call, &recording)?;
        self.look_at_packets(call, &recording)
    }

    /// How a call stands at each record server that has something to do about it.
    fn left_to_do(&self, key: &CallKey) -> Vec<String> {
        self.servers.iter().filter_map(|server| server.gathering.standings().remove(key)).collect()
    }

    /// Whether no segment of a call ever was.
    fn is_nothing(&self, call: CallId) -> bool {
        let truth = &self.core.truth;
        let mut segments = truth.segments.values().filter(|known| known.call == call);
        segments.all(|known| known.answer != Answer::Opened)
            && !truth.sealed.values().any(|(key, _)| key.call == call)
    }

    /// Whether a loss of power took all of a segment, before any of it was durable: its call lacks it, and is tagged.
    fn is_swallowed(&self, call: CallId) -> bool {
        let truth = &self.core.truth;
        let at_risk = truth.powerless.iter().filter(|segment| {
            truth.segments.get(segment).is_some_and(|s| s.call == call && s.answer == Answer::Opened)
        });
        let mut lost = at_risk.filter(|segment| !truth.sealed.contains_key(segment));
        lost.next().is_some()
    }

    /// No segment is live for ever, and every one that was sealed is somewhere.
    fn look_at_segments(&self, key: &CallKey) -> Result<(), String> {
        for server in &self.servers {
            for (record, is_sealed) in records(server, key)? {
                if !is_sealed {
                    return Err(format!("segment {} is open at {} in the end", record.id, server.name));
                }
            }
        }
        for (segment, (of, sealed)) in self.core.truth.sealed.iter().filter(|(_, (of, _))| of == key) {
            if !self.is_safe(of, *segment, sealed) {
                return Err(format!("segment {segment} is nowhere in the end"));
            }
        }
        Ok(())
    }

    /// What there is of a call at the one who has it.
    fn recording(holder: &Server, key: &CallKey) -> Result<Recording, String> {
        let (directory, disk) = (Self::directory(key), &holder.disk.disk.now);
        let found = verify::call(disk, &directory).map_err(|e| e.to_string())?;
        if !found.is_sound() {
            return Err(format!("call {} is not sound at {}: {:?}", key.call, holder.name, found.findings));
        }
        let lines = disk.bytes(&layout::log_path(&directory)).unwrap_or_default();
        let state = log::state_of(&log::read(lines).0, CopyOf::Call(key.call));
        let state = state.ok_or_else(|| format!("call {} has no state at {}", key.call, holder.name))?;
        let segments: Vec<_> = records(holder, key)?.into_iter().map(|(record, _)| record).collect();
        let mut packets = BTreeMap::new();
        for (segment, part) in segments.iter().flat_map(|s| s.parts.iter().map(move |p| (s.id, p))) {
            for packet in packets_of(disk, &format!("{directory}/{}", part.file))? {
                if let Some(before) = packets.insert(packet, segment) {
                    return Err(format!("packet {packet:?} is in segment {before} and in segment {segment}"));
                }
            }
        }
        Ok(Recording { state, segments, packets })
    }

    fn look_at_state(&self, holder: &Server, call: CallId, recording: &Recording) -> Result<(), String> {
        // What was opened when nobody waited for it any more its proxy never knew.
        let is_known = |segment: &SegmentId| {
            self.core.truth.segments.get(segment).is_some_and(|known| known.answer == Answer::Opened)
        };
        let all: Vec<_> = recording.segments.iter().map(|record| record.state).collect();
        let known = recording.segments.iter().filter(|record| is_known(&record.id));
        let known: Vec<_> = known.map(|record| record.state).collect();
        // What was presumed of one whose record server was silent for long may not be what became of it.
        let told = self.core.truth.segments.values();
        let told = told.filter(|known| known.call == call && known.answer == Answer::Opened);
        let told: Vec<_> = told.filter_map(|known| known.ended_as).collect();
        let comes_to =
            |states: &[RecordingState]| copy::gathered_outcome(states).map(RecordingState::gathered);
        // One of which nothing was heard is taken to have failed: a call may be graver than its segments, never less grave.
        let is_graver = recording.state.outcome() > copy::gathered_outcome(&known);
        if !is_graver && ![comes_to(&all), comes_to(&known), comes_to(&told)].contains(&Some(recording.state))
        {
            return Err(format!("call {call} is {} and its segments are {all:?}", recording.state));
        }
        let told = self.core.truth.told.get(&(CopyOf::Call(call), holder.number));
        if told != Some(&recording.state) {
            return Err(format!("call {call} is {} and the catalog was told {told:?}", recording.state));
        }
        let numbers: BTreeSet<u16> = recording.segments.iter().map(|record| record.number).collect();
        let last = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
        let has_holes = !numbers.iter().copied().eq(1..=last);
        let is_tagged = self.is_swallowed(call) && recording.state.outcome() >= Some(Outcome::Internal);
        if has_holes && !is_tagged {
            return Err(format!("call {call} has the segments {numbers:?}"));
        }
        Ok(())
    }

    /// What a segment kept that ended in order is in it, and what was sent to a call without any failure is in one of its
    /// segments, but for what the network lost.
    fn look_at_packets(&self, call: CallId, recording: &Recording) -> Result<(), String> {
        let truth = &self.core.truth;
        for record in &recording.segments {
            let is_cut_off = matches!(record.end, Some(EndReason::Internal(_)) | None);
            let kept = truth.kept.iter().filter(|(_, segment)| **segment == record.id && !is_cut_off);
            for (packet, _) in kept {
                if recording.packets.get(packet) != Some(&record.id) {
                    return Err(format!("packet {packet:?} was kept by segment {} and is lost", record.id));
                }
            }
        }
        if recording.state != RecordingState::Complete {
            return Ok(());
        }
        let ssrcs: BTreeSet<u32> = recording.packets.keys().map(|(ssrc, _)| *ssrc).collect();
        for (packet, sent) in truth.sent.iter().filter(|(packet, _)| ssrcs.contains(&packet.0)) {
            let may_be_missing = sent.is_eaten || sent.secrecy != Secrecy::None;
            if !may_be_missing && !recording.packets.contains_key(packet) {
                return Err(format!(
                    "packet {packet:?} of caller {} is in no segment of call {call}, which is complete without a failure",
                    sent.caller
                ));
            }
        }
        Ok(())
    }

    /// How the calls came out, by the names of their states.
    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        let mut outcomes = BTreeMap::new();
        let truth = &self.core.truth;
        for call in truth.calls.keys() {
            let state = self.servers.iter().find_map(|server| {
                let told = truth.told.get(&(CopyOf::Call(*call), server.number))?;
                told.is_gathered().then(|| told.name().to_owned())
            });
            let otherwise = || {
                let why = match (self.is_nothing(*call), self.is_swallowed(*call)) {
                    (true, _) => "never recorded",
                    (false, true) => "lost with the power in its first second",
                    (false, false) => "not gathered",
                };
                why.to_owned()
            };
            *outcomes.entry(state.unwrap_or_else(otherwise)).or_default() += 1;
        }
        let carried = [("carried on", &truth.carried), ("carried on although over", &truth.revived)];
        for (what, calls) in carried.into_iter().filter(|(_, calls)| !calls.is_empty()) {
            outcomes.insert(what.to_owned(), calls.values().sum());
        }
        outcomes
    }
}

/// The segments of a call at a record server, by number, and whether each is sealed.
fn records(server: &Server, key: &CallKey) -> Result<Vec<(SegmentRecord, bool)>, String> {
    let (directory, disk) = (World::directory(key), &server.disk.disk.now);
    let names = disk.list(&directory).unwrap_or_default();
    let each = names.into_iter().filter(|name| name.ends_with(".json")).map(|name| {
        let path = format!("{directory}/{name}");
        let read = manifest::read(disk.bytes(&path).unwrap_or_default());
        let read = read.map_err(|e| format!("{path} at {}: {e}", server.name))?;
        Ok::<_, String>((read.record, read.sealed))
    });
    let mut found: Vec<_> = each.collect::<Result<_, _>>()?;
    found.sort_by_key(|(record, _)| record.number);
    Ok(found)
}

/// The packets that a part has.
fn packets_of(files: &dyn Files, path: &str) -> Result<Vec<Packet>, String> {
    let failed = |e: std::io::Error| format!("{path}: {e}");
    let mut reader = mka::Reader::new(files.open(path).map_err(failed)?).map_err(failed)?;
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block().map_err(failed)? {
        packets.extend(packet_of(&block.payload));
    }
    Ok(packets)
}
