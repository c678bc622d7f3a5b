//! `kill -9` at random moments with 50 calls up, again and again: what was flushed is there, every part opens,
//! every call that was answered has its manifest, and after the next start nothing is live that does not live.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fault_support::Random;
use fault_support::caller::{CallReport, Caller, Report, Run};
use fault_support::listing::{Segment, all_calls, directories, segments, wait_for_repair};
use model::{EndReason, Failure, RecordingState, StreamId, WallTime};
use support::ports::Ports;
use support::server::Server;
use support::{PATIENCE, audio, wait_until};

const ROUNDS: usize = 20;
/// Calls that are up: half plain, half SIPREC with two streams.
const CALLS: usize = 50;
/// What may be missing at the end of a stream. 200 ms are proven in virtual time (`spool`); the rest is for a
/// machine that is busy with other tests.
const ALLOWED: Duration = Duration::from_millis(500);
/// The same seed, the same moments.
const SEED: u64 = 0x0c0f_fee0;

#[test]
fn a_killed_process_loses_nothing_that_was_flushed() {
    // 75 streams at a time take more ports than a block has for media: all of a second block is for them.
    let media = Ports::claim();
    let (first, last) = (media.sip(), media.sip() + 239);
    let settings = [("MEDIA__PORT_MIN", first.to_string()), ("MEDIA__PORT_MAX", last.to_string())];
    let mut server = Server::prepare(&settings.each_ref().map(|(k, v)| (*k, v.as_str())));
    server.restart();
    let mut test = Test { random: Random(SEED), known: BTreeSet::new(), sums: Sums::default() };
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        test.round(&mut server, round);
        if round == 1 || round == ROUNDS {
            verify(&server);
        }
    }
    let Sums { calls, cut, held, parts, worst } = test.sums;
    eprintln!(
        "{calls} calls in {ROUNDS} rounds: {cut} segments cut, {held} held before, {parts} parts; at most {} ms missing; {:.0} s",
        worst.as_millis(),
        begun.elapsed().as_secs_f64()
    );
    // A test in which nothing was up would prove nothing.
    assert!(cut > ROUNDS * CALLS / 2 && held > 0, "{cut} segments were cut, {held} had been held");
}

#[derive(Default)]
struct Sums {
    calls: usize,
    cut: usize,
    held: usize,
    parts: usize,
    worst: Duration,
}

struct Test {
    random: Random,
    known: BTreeSet<PathBuf>,
    sums: Sums,
}

impl Test {
    fn round(&mut self, server: &mut Server, round: usize) {
        let repository = server.state().join("repository");
        let half = (CALLS / 2).to_string();
        let common = ["--calls", &half, "--rate", "100/s", "--duration", "25s"];
        let (one, other) = if round.is_multiple_of(2) { ("udp", "tcp") } else { ("tcp", "udp") };
        let plain = [&common[..], &["--transport", one, "--hold", "500ms@700ms"]].concat();
        let siprec = [&common[..], &["--transport", other, "--siprec", "--hold", "300ms@500ms"]].concat();
        let callers = [
            Caller::start(server, &format!("plain-{round}"), &plain),
            Caller::start(server, &format!("siprec-{round}"), &siprec),
        ];
        // One time in five it dies while calls come up, else with all of them up, before, in and after the holds.
        let up = if round.is_multiple_of(5) { self.random.below(CALLS) + 1 } else { CALLS };
        wait_until("calls to be up", PATIENCE, || {
            let now = directories(&repository).difference(&self.known).count();
            if now >= up { Ok(()) } else { Err(format!("{now} of {up}")) }
        });
        std::thread::sleep(Duration::from_millis(self.random.next() % 1_600));
        let killed = now();
        server.kill();
        server.restart();

        callers.iter().for_each(Caller::interrupt);
        let reports = callers.map(Caller::finish);
        wait_for_repair(&repository);
        let directories = directories(&repository);
        let new: Vec<PathBuf> = directories.difference(&self.known).cloned().collect();
        self.known = directories;
        // An INVITE that nobody had answered came again after the restart: that call is none of those that died.
        let (found, later): (Vec<Segment>, Vec<Segment>) =
            new.iter().flat_map(|d| segments(d)).partition(|s| s.record.started <= killed);
        let before = (self.sums.cut, self.sums.held);
        for report in &reports {
            self.check_calls(report, &found, &later, killed);
        }
        expect_nothing_live(server, &found);
        self.check_files(&found);
        let Sums { cut, held, .. } = self.sums;
        eprintln!(
            "round {round} of {ROUNDS}: {} calls answered, {} segments cut, {} held before",
            reports.iter().flat_map(Report::answered).count(),
            cut - before.0,
            held - before.1
        );
    }

    fn check_calls(&mut self, report: &Report, found: &[Segment], later: &[Segment], killed: WallTime) {
        let allowed = ALLOWED + Duration::from_secs_f64(report.totals.latest_ms / 1_000.0);
        for call in report.answered() {
            if later.iter().any(|s| s.is_of(&call.sip_call_id)) {
                continue;
            }
            self.sums.calls += 1;
            let of_call: Vec<&Segment> = found.iter().filter(|s| s.is_of(&call.sip_call_id)).collect();
            assert!(!of_call.is_empty(), "answered with 200, and there is no manifest: {call:?}");
            for (index, segment) in of_call.iter().enumerate() {
                assert_eq!(
                    usize::from(segment.record.number),
                    index + 1,
                    "numbers have no holes: {of_call:?}"
                );
                self.check_segment(call, segment, killed, allowed);
            }
        }
    }

    fn check_segment(&mut self, call: &CallReport, segment: &Segment, killed: WallTime, allowed: Duration) {
        let record = &segment.record;
        assert!(segment.sealed, "not sealed: {record:?}");
        let was_held = match &record.end {
            Some(EndReason::Hold) => {
                assert_eq!(record.state, RecordingState::Partial, "{record:?}");
                self.sums.held += 1;
                true
            }
            Some(EndReason::Internal(Failure::Process)) => {
                assert_eq!(record.state, RecordingState::PartialInternalError, "{record:?}");
                self.sums.cut += 1;
                false
            }
            other => panic!("ended by {other:?}: {record:?}"),
        };
        for (stream, sent) in record.streams.iter().zip(&call.streams) {
            let period = u32::from(record.number) - 1;
            let Some(run) = sent.runs.iter().find(|r| r.period == period) else { continue };
            if was_held {
                assert_eq!(stream.accounting.received, run.packets, "before the hold: {run:?} {record:?}");
            }
            let missing = missing(segment, stream.id, run, killed);
            assert!(missing <= allowed, "{missing:?} are missing of {run:?}, killed at {killed}: {record:?}");
            self.sums.worst = self.sums.worst.max(missing);
        }
    }

    fn check_files(&mut self, found: &[Segment]) {
        let mut parts = Vec::new();
        for segment in found {
            for part in &segment.record.parts {
                let path = segment.directory.join(&part.file);
                let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let scan = spool::mka::scan(BufReader::new(file)).expect("it can be read");
                assert!(scan.is_clean(), "{}: {scan:?}", path.display());
                parts.push(path);
            }
        }
        self.sums.parts += parts.len();
        // Players are asked about the shortest, whose head alone may be there, and about any other.
        let shortest = parts.iter().min_by_key(|p| std::fs::metadata(p).map_or(0, |m| m.len()));
        shortest.into_iter().for_each(|part| drop(audio::probe(part)));
        if !parts.is_empty() {
            let part: &PathBuf = self.random.one_of(&parts);
            audio::probe(part);
        }
    }
}

/// How much of what was sent until the kill is not in the parts, at the end.
fn missing(segment: &Segment, stream: StreamId, run: &Run, killed: WallTime) -> Duration {
    let sent = run.last_at.min(killed);
    let kept = last_media(segment, stream).unwrap_or(run.first_at);
    sent.since(kept)
}

/// When the last block of media in the files ends, what fills gaps not among them.
fn last_media(segment: &Segment, stream: StreamId) -> Option<WallTime> {
    let mut last = None;
    for part in &segment.record.parts {
        let Some(track) = part.tracks.iter().find(|t| t.stream == stream) else { continue };
        let file = std::fs::File::open(segment.directory.join(&part.file)).unwrap();
        let mut reader = spool::mka::Reader::new(BufReader::new(file)).expect("it can be read");
        while let Some(block) = reader.next_block().expect("it can be read") {
            if block.track == track.track && !block.discardable {
                // µ-law: an octet is a sample is a tick of 125 µs.
                let end = block.position + i64::try_from(block.payload.len()).unwrap();
                last = last.max(Some(part.offset_us + end * 125));
            }
        }
    }
    last.map(|us| WallTime(segment.record.started.0 + us * 1_000))
}

/// The calls of these segments are concluded, and none is live.
fn expect_nothing_live(server: &Server, found: &[Segment]) {
    let cut: BTreeSet<String> = found
        .iter()
        .filter(|s| s.record.state == RecordingState::PartialInternalError)
        .map(|s| s.record.call.to_string())
        .collect();
    let all: BTreeSet<String> = found.iter().map(|s| s.record.call.to_string()).collect();
    wait_until("all calls to be concluded", PATIENCE, || {
        let listed = all_calls(server);
        let known: BTreeSet<String> = listed.iter().map(|c| c.id.clone()).collect();
        if let Some(lost) = all.difference(&known).next() {
            return Err(format!("{lost} is not listed"));
        }
        let is_right = |c: &support::recording::ListedCall| {
            let state = if cut.contains(&c.id) { "complete-internal-error" } else { &c.state };
            !c.live && c.ended.is_some() && c.state.starts_with("complete") && c.state == state
        };
        match listed.iter().find(|c| !is_right(c)) {
            Some(wrong) => Err(format!("{wrong:?}")),
            None => Ok(()),
        }
    });
}

fn verify(server: &Server) {
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "verify: {}{}", done.text(), done.err);
    assert!(!done.text().contains(" 0 calls"), "{}", done.text());
}

fn now() -> WallTime {
    WallTime(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap())
}
