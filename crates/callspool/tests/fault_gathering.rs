//! The segments of a call that several record servers recorded come to lie on one of them, whoever is killed meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod fault_support;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use fault_support::cluster::Cluster;
use fault_support::listing::directories;
use model::RecordingState;
use serde_json::Value;
use support::party::{Hush, Party};
use support::uac::Dialog;
use support::{PATIENCE, audio, http, wait_until};

const BEFORE: f64 = 440.0;
const AFTER: f64 = 1_300.0;

/// A call that began at one record server, which was killed, and went on and ended at the other.
struct Scattered {
    cluster: Cluster,
    sip_call_id: String,
    call: String,
    /// The one that was killed, and has not been started again.
    first: usize,
}

impl Scattered {
    fn make(stretch: Duration, settings: &[(&str, &str)]) -> Self {
        let mut cluster = Cluster::gathering(2, settings);
        let (before, after) = (Party::new(), Party::new());
        let (sip_call_id, call, first) = std::thread::scope(|scope| {
            let (mut dialog, media) = Dialog::begin(&cluster.proxy, "scattered", before.mouth.port());
            let _at_the_end = Hush(&[&before, &after]);
            before.turn_to(media);
            scope.spawn(|| before.talk(BEFORE));
            std::thread::sleep(stretch);
            let [(first, segment)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
            let (first, call) = (*first, segment.record.call.to_string());
            cluster.recorders[first].kill();
            let moved = dialog.accept();
            after.turn_to(moved[0].rtp());
            scope.spawn(|| after.talk(AFTER));
            std::thread::sleep(stretch);
            dialog.bye();
            (dialog.call_id().to_owned(), call, first)
        });
        let scattered = Self { cluster, sip_call_id, call, first };
        wait_until("the second segment to be sealed", PATIENCE, || {
            match &scattered.cluster.of(&scattered.sip_call_id)[..] {
                [_, (_, second)] if second.sealed => Ok(()),
                all => Err(format!("{all:#?}")),
            }
        });
        scattered
    }

    const fn second(&self) -> usize {
        1 - self.first
    }

    /// What `callspool gather` lists at a record server.
    fn gathering_at(&self, recorder: usize) -> String {
        self.cluster.recorders[recorder].callspool(&["gather"]).text().to_owned()
    }

    /// The directory of the call at a record server, if it has one.
    fn directory_at(&self, recorder: usize) -> Option<PathBuf> {
        let all = directories(&self.cluster.repository(recorder));
        all.into_iter().find(|directory| directory.ends_with(&self.call))
    }

    /// Octets of files at the second record server that have not their names yet.
    fn fetched(&self) -> u64 {
        let files =
            self.directory_at(self.second()).map(std::fs::read_dir).into_iter().flatten().flatten().flatten();
        let partial = files.filter(|file| file.path().extension().is_some_and(|e| e == "partial"));
        partial.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    /// The details of the call by the interface of a record server.
    fn details_at(&self, recorder: usize) -> Value {
        let text = self.ask(recorder, &format!("/api/v1/calls/{}", self.call));
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    fn ask(&self, recorder: usize, path: &str) -> String {
        let server = &self.cluster.recorders[recorder];
        let token = std::fs::read_to_string(server.state().join("token")).expect("a token");
        let bearer = format!("Bearer {}", token.trim());
        http::get(&server.http_address(), path, &[("Authorization", &bearer)]).expect("an answer").text()
    }

    /// Waits until the call is whole at the record server where it ended, and nothing of it at the other.
    fn expect_together(&self) {
        let (first, second) = (self.first, self.second());
        wait_until("all segments to lie at one record server", PATIENCE * 2, || {
            let at: Vec<_> =
                self.cluster.of(&self.sip_call_id).iter().map(|(at, s)| (*at, s.record.number)).collect();
            match (at == [(second, 1), (second, 2)], self.directory_at(first)) {
                (true, None) => Ok(()),
                (_, left) => {
                    let told = [first, second].map(|at| self.gathering_at(at));
                    Err(format!("{at:?}, left {left:?}, {told:?}\n{}", self.cluster.recorders[second].log()))
                }
            }
        });
        let segments = self.cluster.sealed(&self.sip_call_id, 2);
        let states: Vec<_> = segments.iter().map(|(_, s)| s.record.state).collect();
        assert_eq!(
            states,
            [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent]
        );
        let server = &self.cluster.recorders[second];
        let state = RecordingState::CompleteInternalErrorRespondent.name();
        wait_until("the catalog to know it as complete", PATIENCE, || match &server.calls()[..] {
            [call] if call.state == state && (call.segments, call.total, call.live) == (2, 2, false) => {
                Ok(())
            }
            calls => Err(format!("{calls:?}")),
        });
        let done = server.callspool(&["verify", "--all"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
        self.expect_both_tones();
    }

    /// What is exported where it is whole plays what was said before, then what was said after.
    fn expect_both_tones(&self) {
        let file = self.cluster.proxy.directory().join("whole.wav");
        let server = &self.cluster.recorders[self.second()];
        let done = server.callspool(&["export", &self.call, "-o", file.to_str().unwrap(), "--force"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
        let sounds = audio::wav(&file);
        let loudest = |from: f64, until: f64, hertz: f64| {
            sounds.iter().map(|sound| sound.cut(from, until).level(hertz)).fold(f64::MIN, f64::max)
        };
        let seconds = sounds[0].seconds();
        for (from, until, heard, not) in
            [(0.3, 0.8, BEFORE, AFTER), (seconds - 0.8, seconds - 0.3, AFTER, BEFORE)]
        {
            let (heard_at, not_at) = (loudest(from, until, heard), loudest(from, until, not));
            assert!(heard_at > not_at * 4.0, "{from} to {until} of {seconds} s: {heard_at} {not_at}");
        }
    }
}

#[test]
fn a_call_that_two_record_servers_recorded_comes_to_lie_on_one_when_the_other_is_back() {
    let mut scattered = Scattered::make(Duration::from_millis(1_200), &[]);
    let second = scattered.second();
    // Until then it is told what is missing.
    wait_until("what is missing to be told", PATIENCE, || {
        let (told, details) = (scattered.gathering_at(second), scattered.details_at(second));
        let missing = details["gathering"]["missing"][0]["what"].as_str().unwrap_or_default().to_owned();
        let is_told = told.contains(&scattered.call) && told.contains("segment number 1");
        if is_told && missing.contains("segment number 1") {
            Ok(())
        } else {
            Err(format!("{told}\n{details}"))
        }
    });
    let waits = scattered.cluster.recorders[second].callspool(&["gather", &scattered.call]);
    assert_eq!(waits.code, Some(1), "{}{}", waits.text(), waits.err);
    assert!(waits.text().contains("waits for what is missing"), "{}", waits.text());
    scattered.cluster.recorders[scattered.first].restart();
    scattered.expect_together();
    assert_eq!(scattered.details_at(second)["gathering"], Value::Null);
    let metrics = scattered.ask(second, "/metrics");
    for (name, least) in
        [("calls_gathered_total", 1.0), ("bytes_total{direction=\"fetched\"}", 1_000.0), ("nodes", 1.0)]
    {
        let start = format!("callspool_gathering_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= least), "{name}: {value:?}");
    }
    let none = scattered.cluster.recorders[second].callspool(&["gather", &scattered.call]);
    assert_eq!(none.code, Some(0), "{}{}", none.text(), none.err);
    let unknown = scattered.cluster.recorders[second].callspool(&["gather", "000000000002d"]);
    assert_eq!(unknown.code, Some(1), "{}{}", unknown.text(), unknown.err);
}

#[test]
fn what_is_being_fetched_is_fetched_on_when_either_side_is_killed() {
    let slow = [("GATHERING__RATE", "4KiB")];
    let mut scattered = Scattered::make(Duration::from_secs(5), &slow);
    let (first, second) = (scattered.first, scattered.second());
    scattered.cluster.recorders[first].restart();
    let under_way = |scattered: &Scattered, least: u64| {
        wait_until("some of it to be fetched", PATIENCE, || match scattered.fetched() {
            n if n >= least => Ok(n),
            n => Err(format!("{n} octets; {}", scattered.gathering_at(second))),
        })
    };
    let fetched = under_way(&scattered, 8_000);
    scattered.cluster.recorders[second].kill();
    scattered.cluster.recorders[second].restart();
    // What was fetched before is not fetched again.
    let fetched = under_way(&scattered, fetched + 4_000);
    assert!(scattered.directory_at(first).is_some(), "nothing is given up before all of it is here");
    scattered.cluster.recorders[first].kill();
    assert!(scattered.fetched() >= fetched);
    scattered.cluster.recorders[first].restart();
    scattered.expect_together();
}

#[test]
fn where_segments_stay_where_they_are_nothing_moves() {
    let mut scattered = Scattered::make(Duration::from_millis(1_200), &[("GATHERING__MODE", "virtual")]);
    let (first, second) = (scattered.first, scattered.second());
    scattered.cluster.recorders[first].restart();
    scattered.cluster.sealed(&scattered.sip_call_id, 2);
    for at in [first, second] {
        let asked = scattered.cluster.recorders[at].callspool(&["gather", &scattered.call, "--no-wait"]);
        assert!(asked.text().contains("stay where they are"), "{}{}", asked.text(), asked.err);
    }
    let at: Vec<_> =
        scattered.cluster.of(&scattered.sip_call_id).iter().map(|(at, s)| (*at, s.record.number)).collect();
    assert_eq!(at, [(first, 1), (second, 2)]);
}
