//! `callspool show`: all that is known of one call, read from its files.

use std::io::{self, Write};

use model::stream::{Accounting, Gap, StreamRecord};
use model::{CallId, CopyOf, Join, Note, PartyRole, Pause, SegmentRecord, TenantId};
use serde_json::json;
use spool::log::{Entry, LogDamage, LogLine};
use spool::twins::{Fill, fills};

use super::args::ShowArgs;
use super::{CliError, Outcome, across, operate, text};
use crate::config::Config;
use crate::elsewhere::{CallAcross, Missing, Need};
use crate::gathering::CallStands;
use crate::reindex::{ended_on_disk, state_on_disk};
use crate::repository::Repository;
use crate::whole::{ManifestFile, WholeCall};

/// Gaps of a stream that are listed; the rest is counted. `--json` has all.
const GAPS_SHOWN: usize = 12;
/// Pauses of a segment that are shown; `--json` has all.
const PAUSES_SHOWN: usize = 32;

/// What the files of a call say.
pub(super) struct CallFiles {
    pub(super) across: CallAcross,
    lines: Vec<LogLine>,
}

impl CallFiles {
    /// Reads them, wherever they lie. A call without a single manifest that can be read is an error.
    pub(super) fn read(
        config: &Config,
        repository: &Repository,
        call: CallId,
        need: Need,
    ) -> Result<Self, CliError> {
        let mut across = across::read(config, repository, call, need)?;
        if across.segments.read.is_empty() {
            let what = format!("cannot read {}/{}", repository.describe(), across.whole.directory());
            let missing = across.missing.first().map(Missing::describe);
            let why = across.segments.problems.pop().or(missing);
            let why = why.unwrap_or_else(|| "it has no manifest".to_owned());
            return Err(CliError::failed(what, why, "see `callspool verify`"));
        }
        let lines = across.whole.lines();
        Ok(Self { across, lines })
    }

    /// Its segments, in order of their numbers.
    pub(super) fn segments(&self) -> impl Iterator<Item = &SegmentRecord> {
        self.across.segments.read.iter().map(|(s, _)| s)
    }

    /// All copies of them, each with the directory that it lies in.
    pub(super) fn placed(&self) -> Vec<(SegmentRecord, String)> {
        self.across.placed()
    }

    fn tenant(&self) -> TenantId {
        self.segments().next().map(|s| s.tenant.clone()).unwrap_or_default()
    }

    fn total(&self) -> u16 {
        self.across.whole.total(&self.across.segments.read)
    }
}

/// Shows it.
pub(super) fn run(config: &Config, args: &ShowArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let repository = super::repository(config)?;
    let call = CallFiles::read(config, &repository, args.call, Need::Words)?;
    // What is gathered needs nobody's word.
    let records: Vec<SegmentRecord> = call.segments().cloned().collect();
    let gathering = (!state_on_disk(&records, &call.lines).state.is_gathered())
        .then(|| operate::gathering(&config.node.data_dir, &call.tenant(), call.across.whole.call))
        .flatten();
    let gathering = gathering.as_ref();
    let shown = if args.json { as_json(out, &call, gathering) } else { as_text(out, &call, gathering) };
    shown.map(|()| Outcome::Ok).map_err(CliError::output)
}

fn as_json(out: &mut dyn Write, call: &CallFiles, gathering: Option<&CallStands>) -> io::Result<()> {
    let records: Vec<SegmentRecord> = call.segments().cloned().collect();
    let state = state_on_disk(&records, &call.lines);
    let segment = |(record, file): &(SegmentRecord, ManifestFile)| {
        json!({"directory": file.directory, "manifest": file.name, "sealed": file.sealed,
               "written": file.written, "recorded_as": file.recorded_as.map(|(call, _)| call),
               "at": call.across.borrowed.get(&record.id).map(|lent| &lent.name), "record": record,
               "twin": call.across.segments.twin_of(record).map(|twin| twin_as_json(record, twin))})
    };
    let segments: Vec<_> = call.across.segments.read.iter().map(segment).collect();
    let joined: Vec<_> =
        joins(call).map(|j| json!({"call": j.from.call, "at": j.at, "why": j.why.describe()})).collect();
    let log: Vec<_> = call.lines.iter().map(|l| json!({"at": l.at, "entry": l.entry})).collect();
    let object = json!({
        "id": call.across.whole.call,
        "tenant": call.tenant(),
        "directory": call.across.whole.directory(),
        "state": state.state,
        "code": state.state.code(),
        "live": state.live,
        "started": records.iter().map(|s| s.started).min(),
        "ended": ended_on_disk(&records),
        "total": call.total(),
        "joined": joined,
        "gathering": gathering,
        "segments": segments,
        "missing": call.across.missing,
        "log": log,
        "problems": problems(call),
    });
    writeln!(out, "{object}")
}

fn as_text(out: &mut dyn Write, call: &CallFiles, gathering: Option<&CallStands>) -> io::Result<()> {
    head(out, call)?;
    if let Some(stands) = gathering {
        writeln!(out, "gathering   {}", stands.describe())?;
        for missing in &stands.missing {
            writeln!(out, "missing     {} (since {})", missing.what, text::time_ms(missing.since))?;
        }
    }
    for missing in &call.across.missing {
        writeln!(out, "missing     {}", text::clean(&missing.describe()))?;
    }
    for (record, file) in &call.across.segments.read {
        segment(out, record, file, &call.lines)?;
        if let Some(lent) = call.across.borrowed.get(&record.id) {
            writeln!(out, "  read from {} (node {})", lent.name, lent.node.get())?;
        }
        if let Some(twin) = call.across.segments.twin_of(record) {
            writeln!(out, "  {}", twin_in_words(record, twin))?;
        }
    }
    writeln!(out, "\nlog")?;
    for line in &call.lines {
        writeln!(out, "  {}  {}", text::time_ms(line.at), text::clean(&entry(&line.entry)))?;
    }
    let problems = problems(call);
    if !problems.is_empty() {
        writeln!(out, "\nproblems (see `callspool verify {}`)", call.across.whole.call)?;
    }
    problems.iter().try_for_each(|p| writeln!(out, "  {}", text::clean(p)))
}

fn problems(call: &CallFiles) -> Vec<String> {
    let damage = call.across.whole.pieces.iter().flat_map(|piece| {
        let told = |d: &LogDamage| {
            format!("{}/call.log: {} octets at {} cannot be read", piece.directory, d.octets, d.at)
        };
        piece.damage.iter().map(told)
    });
    call.across.segments.problems.iter().cloned().chain(damage).collect()
}

/// The calls that it took in, each once.
fn joins(call: &CallFiles) -> impl Iterator<Item = &Join> {
    let others = call.across.whole.pieces.iter().skip(1);
    others.filter_map(|piece| call.across.whole.joins.iter().find(|j| j.from.call == piece.call))
}

fn head(out: &mut dyn Write, call: &CallFiles) -> io::Result<()> {
    let id = call.across.whole.call;
    let records: Vec<SegmentRecord> = call.segments().cloned().collect();
    let state = state_on_disk(&records, &call.lines);
    let started = records.iter().map(|s| s.started).min().unwrap_or_default();
    writeln!(out, "call        {id}   {}{}", state.state, if state.live { " (live)" } else { "" })?;
    let ended = ended_on_disk(&records);
    let until = ended
        .map(|e| format!(" to {} ({})", text::time_ms(e), text::length(e.since(started))))
        .unwrap_or_default();
    writeln!(out, "time (UTC)  {}{until}", text::time_ms(started))?;
    writeln!(out, "segments    {} of {}", records.len(), call.total())?;
    for piece in &call.across.whole.pieces {
        writeln!(out, "files       {}", piece.directory)?;
    }
    for join in joins(call) {
        let (from, why) = (join.from.call, text::clean(&join.why.describe()));
        writeln!(out, "joined from {from} at {} ({why})", text::time_ms(join.at))?;
    }
    // The newest segment knows most.
    let Some(data) = records.last().map(|s| &s.data) else { return Ok(()) };
    for party in &data.parties {
        let role = match party.role {
            PartyRole::Caller => "caller",
            PartyRole::Called => "called",
            PartyRole::Participant => "participant",
        };
        writeln!(out, "{role:<11} {}", text::party_in_full(party))?;
    }
    for (name, value) in [("line", &data.dn), ("device", &data.device)] {
        if let Some(value) = value {
            writeln!(out, "{name:<11} {}", text::clean(value))?;
        }
    }
    for sip_call_id in &data.sip_call_ids {
        writeln!(out, "Call-ID     {}", text::clean(sip_call_id))?;
    }
    text::key_values(data).iter().try_for_each(|(k, v)| writeln!(out, "{k:<11} {v}"))
}

fn segment(out: &mut dyn Write, s: &SegmentRecord, file: &ManifestFile, lines: &[LogLine]) -> io::Result<()> {
    let state = WholeCall::state_of(lines, s);
    writeln!(out, "\nsegment {} of {}  {}  {state}", s.number, s.total, s.id)?;
    let end = match (s.ended, &s.end) {
        (Some(at), Some(reason)) => {
            format!(
                " to {} ({}), ended by {}",
                text::time_ms(at),
                text::length(at.since(s.started)),
                reason.describe()
            )
        }
        _ => ", live".to_owned(),
    };
    writeln!(out, "  {}{}", text::time_ms(s.started), text::clean(&end))?;
    let volume = if s.volume.is_default() { String::new() } else { format!("volume {}, ", s.volume) };
    let sealed = if file.sealed { ", sealed" } else { "" };
    writeln!(out, "  node {}, {volume}{}{sealed}", s.node.get(), file.name)?;
    if let Some((call, number)) = file.recorded_as {
        writeln!(out, "  recorded as segment {number} of call {call}")?;
    }
    if let Some(by) = &s.stopped_by {
        writeln!(out, "  stopped by {}", text::clean(by))?;
    }
    s.pauses.iter().take(PAUSES_SHOWN).try_for_each(|p| pause(out, p))?;
    let more = s.pauses.len().saturating_sub(PAUSES_SHOWN) as u64 + s.pauses_unlisted;
    if more > 0 {
        writeln!(out, "  and {more} more pauses")?;
    }
    for part in &s.parts {
        let tracks: Vec<String> = part.tracks.iter().map(|t| text::clean(&t.codec.name)).collect();
        let size = text::octets(part.bytes);
        writeln!(
            out,
            "  {}  {}  {size}  {}",
            part.file,
            text::seconds(part.duration_us),
            tracks.join(" + ")
        )?;
    }
    if let Some(sidecar) = &s.sidecar {
        writeln!(out, "  {}  {} packets  {}", sidecar.file, sidecar.packets, text::octets(sidecar.bytes))?;
    }
    for metadata in &s.metadata {
        let problem = metadata
            .problem
            .as_ref()
            .map(|p| format!(", not understood: {}", text::clean(p)))
            .unwrap_or_default();
        let kind = text::clean(&metadata.content_type);
        writeln!(
            out,
            "  metadata in {} at {}: {kind}, {} characters{problem}",
            text::clean(&metadata.method),
            text::time_ms(metadata.at),
            metadata.text.len()
        )?;
    }
    s.streams.iter().try_for_each(|st| stream(out, st))
}

/// What the other copy of a segment is, and what is taken from it.
fn twin_as_json(record: &SegmentRecord, twin: &SegmentRecord) -> serde_json::Value {
    let fill = |fill: Fill| json!({"stream": fill.stream, "filled": fill.filled, "missing": fill.missing});
    let streams: Vec<_> = fills(record, twin).into_iter().map(fill).collect();
    json!({"node": twin.node, "state": twin.state, "ended": twin.ended, "streams": streams})
}

fn twin_in_words(record: &SegmentRecord, twin: &SegmentRecord) -> String {
    let fills = fills(record, twin);
    let sum = |of: fn(&Fill) -> u64| fills.iter().map(of).fold(0, u64::saturating_add);
    let (filled, missing) = (sum(|fill| fill.filled), sum(|fill| fill.missing));
    format!(
        "two copies: node {} ({}), from which {filled} packets are taken; {missing} are in neither",
        twin.node.get(),
        twin.state
    )
}

fn pause(out: &mut dyn Write, p: &Pause) -> io::Result<()> {
    let until = match (p.until_us, &p.resumed_by) {
        (Some(us), Some(by)) => {
            format!(" to {}, resumed by {}", text::seconds(us), text::clean(&by.describe()))
        }
        _ => " to the end of the segment".to_owned(),
    };
    let by = text::clean(&p.by.describe());
    writeln!(out, "  paused {}{until}, by {by}", text::seconds(p.from_us))
}

fn stream(out: &mut dyn Write, s: &StreamRecord) -> io::Result<()> {
    let label = s.label.as_ref().map(|l| format!(", label {}", text::clean(l))).unwrap_or_default();
    let source = s.source.map(|a| format!(" from {a}")).unwrap_or_default();
    writeln!(
        out,
        "  stream {}  {}{label}, port {}{source}",
        s.id,
        format!("{:?}", s.side).to_lowercase(),
        s.port
    )?;
    let codecs: Vec<String> = s
        .codecs
        .iter()
        .map(|c| match &c.codec {
            Some(codec) => format!("{}/{} ({})", text::clean(&codec.name), codec.clock_rate, c.payload_type),
            None => format!("unknown ({})", c.payload_type),
        })
        .collect();
    if !codecs.is_empty() {
        writeln!(out, "    codecs    {}", codecs.join(", "))?;
    }
    writeln!(out, "    packets   {}", counts(&s.accounting))?;
    if s.accounting.received > 0 {
        let (last, most) = (s.accounting.jitter_us, s.accounting.jitter_max_us);
        writeln!(
            out,
            "    jitter    {}.{:03} ms, at most {}.{:03} ms",
            last / 1_000,
            last % 1_000,
            most / 1_000,
            most % 1_000
        )?;
    }
    s.gaps.iter().take(GAPS_SHOWN).try_for_each(|g| gap(out, g))?;
    let more = s.gaps.len().saturating_sub(GAPS_SHOWN) as u64 + s.gaps_unlisted;
    if more > 0 {
        writeln!(out, "    and {more} more gaps")?;
    }
    Ok(())
}

/// Received and lost always, the others when there were any.
fn counts(a: &Accounting) -> String {
    let rare = [
        ("reordered", a.reordered),
        ("duplicate", a.duplicate),
        ("late", a.late),
        ("invalid", a.invalid),
        ("from another source", a.other_source),
        ("dropped", a.dropped),
        ("discarded", a.discarded),
        ("masked", a.masked),
        ("not looked into for digits", a.unsearched),
        ("not authentic", a.unauthenticated),
        ("RTCP not authentic", a.rtcp_unauthenticated),
        ("SSRC changes", a.ssrc_changes.into()),
        ("source changes", a.source_changes.into()),
        ("codec changes", a.codec_changes.into()),
    ];
    let rare = rare.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!(", {n} {name}"));
    format!("{} received, {} lost{}", a.received, a.lost, rare.collect::<String>())
}

fn gap(out: &mut dyn Write, gap: &Gap) -> io::Result<()> {
    let packets = if gap.packets > 0 { format!(", {} packets", gap.packets) } else { String::new() };
    let why = format!("{:?}", gap.reason).to_lowercase();
    writeln!(
        out,
        "    gap       {} to {}: {why}{packets}",
        text::seconds(gap.from_us),
        text::seconds(gap.until_us)
    )
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Opened { segment, number, state, .. } => {
            format!("segment {number} ({segment}) began as {state}")
        }
        Entry::State { copy, from, why } => {
            let of = match copy.of {
                CopyOf::Segment(id) => format!("segment {id}"),
                CopyOf::Call(_) => "call".to_owned(),
            };
            let from = from.map(|f| format!("{f} -> ")).unwrap_or_default();
            format!("{of} at {}: {from}{} ({why})", copy.at, copy.state)
        }
        Entry::Total { total, why, .. } => format!("total {total} ({why})"),
        Entry::Sealed { segment, .. } => format!("segment {segment} sealed"),
        Entry::Repaired { segment, what } => format!("segment {segment} repaired: {}", what.join(", ")),
        Entry::Paused { segment, by } => format!("segment {segment} paused by {}", by.describe()),
        Entry::Resumed { segment, by } => format!("segment {segment} resumed by {}", by.describe()),
        Entry::Noted { note, by } => match note {
            Note::Tagged { tag } => format!("tagged '{tag}' by {by}"),
            Note::Untagged { tag } => format!("tag '{tag}' taken away by {by}"),
            Note::Put { key, value } => format!("{key} = {value} by {by}"),
            Note::Removed { key } => format!("{key} taken away by {by}"),
        },
        Entry::Joined(join) => format!("joined from {} ({})", join.from.call, join.why.describe()),
        Entry::JoinedInto(join) => format!("joined into {} ({})", join.into.call, join.why.describe()),
        Entry::Sides(c) => format!("sides {} (before: {}) by {}", c.to.describe(), c.from.describe(), c.by),
        Entry::GivenUp { to, .. } => format!("given up: it is at node {}", to.get()),
        Entry::Other(value) => value.to_string(),
    }
}
