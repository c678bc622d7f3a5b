//! Recordings as their files are: what ordinary players and tools make of them, during a call and after a kill too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::io::BufReader;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{EndReason, Failure, RecordingState};
use support::recording::expect_close;
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::{Scenario, Sipp};
use support::{PATIENCE, audio, wait_until};

const TONE: f64 = 700.0;

/// Calls; the call goes on.
fn calling(server: &Server) -> (Sipp, Mouth, SocketAddr) {
    let mouth = Mouth::open();
    let mut sipp = Scenario::new("timeout").key("audio", mouth.port()).start(server);
    let to = sipp.answer("1 INVITE").media()[0].rtp();
    (sipp, mouth, to)
}

/// 400 ms: a kill may cost 200 ms, the rest is for a machine that is busy with other tests.
const BEHIND: usize = 20;
/// The duration in a part's head is written each second.
const HEAD_BEHIND: Duration = Duration::from_millis(1_400);

/// Packets that are in a part, as `spool` reads it.
fn packets_in(part: &Path) -> usize {
    let file = std::fs::File::open(part).expect("a part");
    let scan = spool::mka::scan(BufReader::new(file)).expect("it can be read");
    scan.tracks.iter().map(|track| usize::try_from(track.media_blocks).unwrap()).sum()
}

/// An ordinary player hears at least so many packets of the tone. (Where nothing comes, silence is filled in.)
fn expect_heard(what: &str, part: &Path, packets: usize) {
    let seconds = packets as f64 * 0.02;
    let sound = audio::decode(part, 0);
    assert!(sound.seconds() >= seconds, "{what}: {:.3} s of {seconds:.3} s", sound.seconds());
    sound.cut(0.2, seconds - 0.1).expect_tone(what, TONE, &[1_500.0]);
}

/// What players take for the length.
fn head(part: &Path) -> f64 {
    audio::probe(part)["format"]["duration"].as_str().expect("a duration").parse().unwrap()
}

#[test]
fn a_live_call_can_be_played_and_so_can_what_a_kill_leaves() {
    let mut server = Server::start();
    let packets = Talk::new(TONE, Duration::from_secs(6)).packets();
    let (sipp, mouth, to) = calling(&server);
    let part = std::thread::scope(|scope| {
        scope.spawn(|| mouth.say(to, &packets));
        check_live(&server, sipp.call_id())
    });

    server.kill();
    // What the redo has is not in the file yet.
    expect_heard("after the kill", &part, LIVE);
    server.restart();
    // Calls are taken before repairs are done.
    wait_until("the repair", PATIENCE, || match server.recorded(sipp.call_id()) {
        Some(repaired) if repaired.sealed => Ok(()),
        _ => Err("not sealed".to_owned()),
    });
    let repaired = server.recorded(sipp.call_id()).expect("a manifest");
    let segment = repaired.segment();
    assert_eq!(segment.state, RecordingState::PartialInternalError);
    assert_eq!(segment.end, Some(EndReason::Internal(Failure::Process)));
    let kept = packets_in(&part);
    assert!(kept + BEHIND >= packets.len(), "{kept} packets of {} are left", packets.len());
    expect_heard("after the repair", &part, kept);
    let heard = audio::decode(&part, 0).seconds();
    expect_close("after the repair: the head", head(&part), heard, Duration::from_millis(1));
    wait_until("the call to be concluded", PATIENCE, || match &server.calls()[..] {
        [call] if !call.live && call.state == "complete-internal-error" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let exported = server.export(&repaired.id(), &["--mono"]).remove(0);
    exported.cut(0.3, 5.3).expect_tone("the export", TONE, &[1_500.0]);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

/// Packets that are to be in the file of a live segment before it is looked at: it is some flushes behind.
const LIVE: usize = 100;

/// A call whose client talks can be listed, played and verified; its only part.
fn check_live(server: &Server, sip_call_id: &str) -> PathBuf {
    let live = server.recorded(sip_call_id).expect("a manifest");
    let [part] = &live.parts()[..] else { panic!("one part: {:?}", live.parts()) };
    wait_until("two seconds to be in the file", PATIENCE, || match packets_in(part) {
        enough if enough >= LIVE => Ok(()),
        few => Err(format!("{few} packets")),
    });
    // The head first: both grow.
    let says = head(part);
    assert!(says >= LIVE as f64 * 0.02 - HEAD_BEHIND.as_secs_f64(), "the head says {says:.3} s");
    expect_heard("live", part, LIVE);
    let listed = server.calls();
    assert_eq!(
        (listed.len(), listed[0].live, listed[0].state.as_str()),
        (1, true, "incomplete"),
        "{listed:?}"
    );
    assert_eq!(server.callspool(&["verify", &live.id()]).code, Some(0), "a live call is sound");
    part.clone()
}

#[test]
fn a_stop_seals_what_is_open_and_says_why() {
    let mut server = Server::start();
    let (sipp, mouth, to) = calling(&server);
    mouth.say(to, &Talk::new(TONE, Duration::from_secs(1)).packets());
    let status = server.stop();
    assert!(status.success(), "{status}: {}", server.log());
    let recorded = server.recorded(sipp.call_id()).expect("a manifest");
    assert!(recorded.sealed);
    let segment = recorded.segment();
    assert!(matches!(segment.end, Some(EndReason::Internal(_) | EndReason::Stop)), "{:?}", segment.end);
    assert_eq!(recorded.stream().accounting.received, 50);
    // The client was told.
    let messages = sipp.finish();
    assert!(messages.iter().any(|m| m.start_line().starts_with("BYE ")), "no BYE");
    server.restart();
    let listed = server.calls();
    assert_eq!((listed.len(), listed[0].live), (1, false), "{listed:?}");
}

#[test]
fn files_are_for_their_owner_alone_and_damage_is_found() {
    let server = Server::start();
    let packets = Talk::new(TONE, Duration::from_secs(1)).packets();
    let outcome = support::calls::place(&server, Scenario::new("call"), &Mouth::open(), &packets, "complete");
    let recorded = outcome.recorded;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in std::fs::read_dir(&recorded.directory).unwrap().flatten() {
        assert_eq!(mode(&file.path()), 0o600, "{}", file.path().display());
    }
    for directory in recorded.directory.ancestors().take_while(|d| *d != server.directory()) {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }

    assert_eq!(server.callspool(&["verify", &recorded.id()]).code, Some(0));
    let part = &recorded.parts()[0];
    let mut bytes = std::fs::read(part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(part, &bytes).unwrap();
    let done = server.callspool(&["verify", &recorded.id()]);
    assert_eq!(done.code, Some(1), "{}{}", done.text(), done.err);
    let file = part.file_name().unwrap().to_str().unwrap();
    assert!(done.text().contains(file), "{file} is not named: {}", done.text());
}

#[test]
fn the_catalog_can_be_made_from_the_files() {
    let mut server = Server::start();
    let packets = Talk::new(TONE, Duration::from_secs(1)).packets();
    for (n, bye) in [(1, "X-Nothing: none"), (2, "Reason: SIP;cause=503")] {
        let scenario = Scenario::new("call").named(&format!("call-{n}")).key("bye_header", bye);
        let state = if n == 1 { "complete" } else { "complete-external-error" };
        support::calls::place(&server, scenario, &Mouth::open(), &packets, state);
    }
    let before = server.calls();
    assert!(server.stop().success());
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(server.state().join(file));
    }
    server.callspool(&["reindex"]).expect_ok("reindex");
    assert_eq!(server.calls(), before);
}

#[test]
fn a_first_start_and_a_call_say_nothing_that_would_wake_someone() {
    // What the kernel grants is no matter of ours here.
    let server = Server::with(&[("SIP__RECV_BUFFER", "64KiB"), ("MEDIA__RECV_BUFFER", "64KiB")]);
    let packets = Talk::new(TONE, Duration::from_secs(1)).packets();
    let scenario = Scenario::new("call").key("caller", "+4930555123");
    support::calls::place(&server, scenario, &Mouth::open(), &packets, "complete");
    let log = server.log();
    let loud: Vec<&str> = log.lines().filter(|l| l.contains(" WARN ") || l.contains(" ERROR ")).collect();
    assert!(loud.is_empty(), "{loud:#?}");
    let personal: Vec<&str> =
        log.lines().filter(|l| l.contains("+4930555123") && !l.contains(" DEBUG ")).collect();
    assert!(personal.is_empty(), "a number of a person above debug: {personal:#?}");
}
