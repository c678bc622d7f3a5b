//! How many calls a second go into a catalog, from their beginning to their end.
//!
//! ```text
//! cargo bench --package callspool-store --bench lives -- [CALLS] [DIRECTORY | postgres://…]
//! ```
//!
//! Each call is told of as recorder and front tell it: seven changes, with a segment of two streams and a SIPREC body of
//! 6 kB. A second's worth of calls begins, and ends a second later; batches are as large as the worker's. The directory is
//! a temporary one where none is given.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use model::segment::Encryption;
use model::state::Respondent;
use model::stream::{Accounting, CodecUse};
use model::{
    CallData, CallId, CallRecord, Change, ChangeKind, Codec, Copy, CopyOf, EndReason, EventId, Location,
    MediaKind, Metadata, NodeNumber, Party, PartyRole, RecordingState, SegmentId, SegmentRecord, Side,
    StartTrigger, StreamId, StreamRecord, TenantId, WallTime,
};
use store::{Catalog, Place, PostgresSettings};

/// 2026-11-20T09:00:00Z
const NINE: WallTime = WallTime(1_795_165_200_000_000_000);
/// As the worker's.
const BATCH: usize = 512;
/// Calls that begin before the first of them end.
const AT_ONCE: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let calls = arguments.first().map_or(Ok(5_000), |a| a.parse())?;
    let temporary = tempfile::tempdir()?;
    let directory = arguments.get(1).map_or(temporary.path().to_owned(), PathBuf::from);
    let path = directory.join("catalog.db");
    let place: Place = match arguments.get(1).filter(|a| a.starts_with("postgres")) {
        Some(url) => url.parse::<PostgresSettings>()?.into(),
        None => (&path).into(),
    };
    let changes = changes(calls);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let took = runtime.block_on(async {
        let catalog = Catalog::open(place).await?;
        let began = Instant::now();
        for batch in changes.chunks(BATCH) {
            catalog.apply(batch).await?;
        }
        let took = began.elapsed();
        catalog.close().await;
        Ok::<_, Box<dyn Error>>(took)
    })?;
    println!(
        "{calls} calls, {} changes: {:.0} ms, {:.0} calls/s, {:.0} octets a call",
        changes.len(),
        took.as_secs_f64() * 1e3,
        calls as f64 / took.as_secs_f64(),
        std::fs::metadata(&path).map_or(f64::NAN, |m| m.len() as f64) / calls as f64,
    );
    Ok(())
}

/// What is told of so many calls.
fn changes(calls: u64) -> Vec<Change> {
    let mut kinds = Vec::new();
    for first in (0..calls).step_by(AT_ONCE) {
        let some = first..calls.min(first + AT_ONCE as u64);
        kinds.extend(some.clone().flat_map(begins));
        kinds.extend(some.flat_map(ends));
    }
    let change =
        |(event, kind)| Change { id: EventId::from_u64(event), at: NINE, tenant: TenantId::default(), kind };
    (1..).zip(kinds).map(change).collect()
}

fn begins(n: u64) -> Vec<ChangeKind> {
    vec![call(n, None), segment(n, RecordingState::Incomplete, None)]
}

fn ends(n: u64) -> Vec<ChangeKind> {
    let (of_segment, of_call) = (CopyOf::Segment(segment_id(n)), CopyOf::Call(call_id(n)));
    let copy = |of| {
        let copy = Copy { of, at: Location::Node(NodeNumber::SINGLE), state: RecordingState::Complete };
        ChangeKind::Copy { call: call_id(n), copy }
    };
    let ended = Some(WallTime(NINE.0 + 60_000_000_000));
    vec![
        segment(n, RecordingState::Complete, Some(EndReason::HangUp)),
        copy(of_segment),
        call(n, ended),
        copy(of_call),
    ]
}

fn call_id(n: u64) -> CallId {
    CallId::from_u64((1_000_000 + n) << 21)
}

fn segment_id(n: u64) -> SegmentId {
    SegmentId::from_u64((1_000_000 + n) << 21 | 16)
}

fn data(n: u64) -> CallData {
    let party = |role, number: String| Party {
        role,
        side: Side::Unknown,
        uri: Some(format!("sip:{number}@pbx.example")),
        name: Some(format!("Person {number}")),
        number: Some(number),
        participant: None,
        joined: None,
        left: None,
    };
    CallData {
        parties: vec![
            party(PartyRole::Caller, format!("4989{n:07}")),
            party(PartyRole::Called, "2000".to_owned()),
        ],
        dn: Some("2000".to_owned()),
        sip_call_ids: vec![format!("{n}-a@pbx.example"), format!("{n}-b@pbx.example")],
        correlation: BTreeMap::from([("ucid".to_owned(), format!("0000{n:012}"))]),
        ..CallData::default()
    }
}

fn call(n: u64, ended: Option<WallTime>) -> ChangeKind {
    ChangeKind::Call(Box::new(CallRecord {
        id: call_id(n),
        tenant: TenantId::default(),
        started: NINE,
        ended,
        total: 1,
        data: data(n),
    }))
}

fn segment(n: u64, state: RecordingState, end: Option<EndReason>) -> ChangeKind {
    let stream = |slot: u16, side| StreamRecord {
        id: StreamId::from_u64(segment_id(n).as_u64() + 1 + u64::from(slot)),
        slot,
        label: Some((slot + 1).to_string()),
        kind: MediaKind::Audio,
        side,
        port: 20_000 + slot,
        source: None,
        ssrcs: vec![7],
        codecs: vec![CodecUse { payload_type: 0, codec: Some(Codec::new("PCMU", 8_000, 1)), from: NINE }],
        accounting: Accounting { received: 3_000, ..Accounting::default() },
        anchors: Vec::new(),
        gaps: Vec::new(),
        gaps_unlisted: 0,
    };
    let body = Metadata {
        at: NINE,
        method: "INVITE".to_owned(),
        content_type: "application/rs-metadata+xml".to_owned(),
        text: "<participant>".repeat(460),
        base64: None,
        problem: None,
    };
    let record = SegmentRecord {
        id: segment_id(n),
        call: call_id(n),
        tenant: TenantId::default(),
        number: 1,
        total: 1,
        node: NodeNumber::SINGLE,
        volume: Default::default(),
        state,
        respondent: Respondent::No,
        started: NINE,
        ended: end.as_ref().map(|_| WallTime(NINE.0 + 60_000_000_000)),
        trigger: StartTrigger::Manager,
        end,
        stopped_by: None,
        pauses: Vec::new(),
        pauses_unlisted: 0,
        dtmf: model::Dtmf::Keep,
        encryption: Encryption::None,
        data: data(n),
        metadata: vec![body],
        streams: vec![stream(0, Side::Agent), stream(1, Side::External)],
        parts: Vec::new(),
        sidecar: None,
    };
    ChangeKind::Segment { record: Box::new(record), directory: format!("default/2026-11-20/{}", call_id(n)) }
}
