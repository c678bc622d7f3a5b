//! The commands that read what was recorded: found again, listed, shown, exported, verified.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

#[path = "cli/fixture.rs"]
mod fixture;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use expect_test::expect;
use fixture::{CALL, TONES, command, fails, repository_in, run};
use tempfile::TempDir;

/// A directory with a repository where the embedded default looks for one.
fn recorded() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fixture::repository(&repository_in(dir.path()));
    dir
}

fn call_dir(dir: &Path) -> PathBuf {
    repository_in(dir).join(format!("default/2026-11-20/{CALL}"))
}

#[test]
fn a_call_is_found_again_by_reindexing_and_listed() {
    let dir = recorded();
    let ran = run(dir.path(), &["reindex"]);
    expect![[r#"
        1 calls and 2 segments are in the catalog, 0 rows without files were removed
    "#]]
    .assert_eq(&ran.text());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let listed = run(dir.path(), &["ls"]);
    expect![[r#"
        id             start (UTC)          length  parties             seg  state     live
        00001m7w3sph0  2026-11-20 09:15:00  0:04    +4930123456 → 1001  2/2  complete
    "#]]
    .assert_eq(&listed.text());
    for columns in ["80", "120"] {
        let ran = command(dir.path(), &["ls"]).env("COLUMNS", columns).output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(text.lines().all(|l| l.chars().count() <= columns.parse().unwrap()), "{text}");
    }
    let json: serde_json::Value = serde_json::from_slice(&run(dir.path(), &["ls", "--json"]).out).unwrap();
    assert_eq!(
        (json["id"].as_str(), json["state"].as_str(), json["live"].as_bool()),
        (Some(&*CALL.to_string()), Some("complete"), Some(false))
    );
    for (args, calls) in [
        (vec!["ls", "--json", "--state", "complete"], 1),
        (vec!["ls", "--json", "--state", "3"], 0),
        (vec!["ls", "--json", "--live"], 0),
        (vec!["ls", "--json", "--since", "2026-11-20"], 1),
        (vec!["ls", "--json", "--since", "2026-11-20T10:00:00Z"], 0),
        (vec!["ls", "--json", "--text", "alice"], 1),
        (vec!["ls", "--json", "--limit", "2000"], 1),
    ] {
        assert_eq!(run(dir.path(), &args).text().lines().count(), calls, "{args:?}");
    }
}

#[test]
fn reindexing_twice_changes_nothing_and_forgets_what_is_gone() {
    let dir = recorded();
    let before = (run(dir.path(), &["reindex"]).code, run(dir.path(), &["ls", "--json"]).text());
    assert_eq!((run(dir.path(), &["reindex"]).code, run(dir.path(), &["ls", "--json"]).text()), before);
    std::fs::remove_dir_all(call_dir(dir.path())).unwrap();
    let ran = run(dir.path(), &["reindex", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!((ran.code, json["calls"].as_u64()), (0, Some(0)));
    assert_eq!(run(dir.path(), &["ls", "--json"]).text(), "");
}

#[test]
fn a_manifest_that_cannot_be_read_is_told_of_and_forgets_nothing() {
    let dir = recorded();
    run(dir.path(), &["reindex"]);
    std::fs::write(call_dir(dir.path()).join("002.json"), "{}").unwrap();
    let ran = run(dir.path(), &["reindex"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("002.json: no callspool manifest") && ran.err.contains("; see `callspool verify`"),
        "{}",
        ran.err
    );
    let json: serde_json::Value = serde_json::from_slice(&run(dir.path(), &["ls", "--json"]).out).unwrap();
    assert_eq!(json["segments"], 2);
}

#[test]
fn a_damaged_catalog_is_set_aside_and_made_anew() {
    let dir = recorded();
    std::fs::write(
        dir.path().join(".state/catalog.db"),
        "this is no database, and long enough to look like one",
    )
    .unwrap();
    fails(
        dir.path(),
        &["ls"],
        1,
        expect![
            "callspool: cannot read the catalog DIR/.state/catalog.db: DIR/.state/catalog.db is no catalog or is damaged: error returned from database: (code: 26) file is not a database; stop callspool and make it anew with `callspool reindex`"
        ],
    );
    let ran = run(dir.path(), &["reindex"]);
    assert!(ran.code == 0 && ran.err.contains("was moved to"), "{}", ran.err);
    assert_eq!(run(dir.path(), &["ls", "--json"]).text().lines().count(), 1);
}

#[test]
fn reindexing_is_refused_while_a_server_has_the_repository() {
    let dir = recorded();
    let lock = std::fs::File::create(repository_in(dir.path()).join(".lock")).unwrap();
    lock.lock().unwrap();
    fails(
        dir.path(),
        &["reindex"],
        1,
        expect![
            "callspool: cannot lock the repository DIR/.state/repository: another callspool runs on it; stop that one first, or give this one another node.data_dir"
        ],
    );
}

#[test]
fn show_tells_all_that_the_files_say() {
    let dir = recorded();
    let shown = run(dir.path(), &["show", &CALL.to_string()]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    let stable: String = shown.text().lines().map(|l| format!("{}\n", l.trim_end())).collect();
    expect![[r#"
        call        00001m7w3sph0   complete
        time (UTC)  2026-11-20 09:15:00.000 to 2026-11-20 09:15:04.000 (0:04)
        segments    2 of 2
        files       default/2026-11-20/00001m7w3sph0
        caller      +4930123456 "Bob�[31m" <sip:+4930123456@pbx.example>
        called      1001 "Alice" <sip:1001@pbx.example>
        Call-ID     abc@192.0.2.1
        ucid        0001

        segment 1 of 2  00000000004w9  partial
          2026-11-20 09:15:00.000 to 2026-11-20 09:15:01.000 (0:01), ended by hold
          node 0, 001.json, sealed
          001-1.mka  1.000 s  16.8 KiB  PCMU + PCMU
          stream 0000000000001  agent, label 1, port 40000 from 192.0.2.7:16384
            codecs    PCMU/8000 (0)
            packets   50 received, 2 lost, 1 late
            jitter    0.000 ms, at most 1.250 ms
            gap       0.400 s to 0.440 s: loss, 2 packets
          stream 0000000000002  external, label 2, port 40000 from 192.0.2.7:16384
            codecs    PCMU/8000 (0)
            packets   50 received, 2 lost, 1 late
            jitter    0.000 ms, at most 1.250 ms
            gap       0.400 s to 0.440 s: loss, 2 packets

        segment 2 of 2  00000000004wa  partial
          2026-11-20 09:15:03.000 to 2026-11-20 09:15:04.000 (0:01), ended by hang-up
          node 0, 002.json, sealed
          002-1.mka  1.000 s  16.8 KiB  PCMU + PCMU
          stream 0000000000001  agent, label 1, port 40000 from 192.0.2.7:16384
            codecs    PCMU/8000 (0)
            packets   50 received, 2 lost, 1 late
            jitter    0.000 ms, at most 1.250 ms
            gap       0.400 s to 0.440 s: loss, 2 packets
          stream 0000000000002  external, label 2, port 40000 from 192.0.2.7:16384
            codecs    PCMU/8000 (0)
            packets   50 received, 2 lost, 1 late
            jitter    0.000 ms, at most 1.250 ms
            gap       0.400 s to 0.440 s: loss, 2 packets

        log
          2026-11-20 09:15:00.000  segment 1 (00000000004w9) began as incomplete
          2026-11-20 09:15:01.001  segment 00000000004w9 at node 0: incomplete -> partial (hold)
          2026-11-20 09:15:01.001  segment 00000000004w9 sealed
          2026-11-20 09:15:03.000  segment 2 (00000000004wa) began as incomplete
          2026-11-20 09:15:04.001  segment 00000000004wa at node 0: incomplete -> partial (hang-up)
          2026-11-20 09:15:04.001  segment 00000000004wa sealed
          2026-11-20 09:15:07.000  total 2 (the call ended)
          2026-11-20 09:15:07.000  call at node 0: complete (gathered)
    "#]]
    .assert_eq(&stable);
    let ran = run(dir.path(), &["show", "--json", &CALL.to_string()]);
    let json: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(
        (json["state"].as_str(), json["segments"].as_array().map(Vec::len)),
        (Some("complete"), Some(2))
    );
    assert_eq!(json["segments"][0]["record"]["streams"][0]["accounting"]["lost"], 2);
}

#[test]
fn a_live_call_is_shown_as_one() {
    let dir = tempfile::tempdir().unwrap();
    fixture::live_repository(&repository_in(dir.path()));
    let text = run(dir.path(), &["show", &CALL.to_string()]).text();
    assert!(text.lines().next().is_some_and(|l| l.ends_with("incomplete (live)")), "{text}");
    assert!(text.contains("2026-11-20 09:15:03.000, live"), "{text}");
    let ran = run(dir.path(), &["export", &CALL.to_string()]);
    assert_eq!((ran.code, ran.err.contains("is being recorded")), (0, true), "{}", ran.err);
}

/// Samples of each channel, and the rate.
fn wav(path: &Path) -> (Vec<Vec<i16>>, u32) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    let mut channels = vec![Vec::new(); spec.channels.into()];
    for (i, sample) in reader.samples::<i16>().enumerate() {
        channels[i % usize::from(spec.channels)].push(sample.unwrap());
    }
    (channels, spec.sample_rate)
}

/// How loud each of the two tones is, in dBFS.
fn tones(samples: &[i16], rate: u32) -> [f64; 2] {
    TONES.map(|t| media::tone::level(samples, rate, t))
}

#[test]
fn an_export_has_each_side_in_its_place_and_silence_where_the_hold_was() {
    let dir = recorded();
    let id = CALL.to_string();
    for (rate, seconds) in [("8000", 4), ("16000", 4)] {
        let ran = run(dir.path(), &["export", &id, "-o", "x.wav", "--force", "--rate", rate]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        let (channels, hz) = wav(&dir.path().join("x.wav"));
        assert_eq!(
            (channels.len(), hz.to_string().as_str(), channels[0].len()),
            (2, rate, seconds * hz as usize)
        );
        let second = |channel: usize, n: usize| &channels[channel][n * hz as usize..(n + 1) * hz as usize];
        for n in [0, 3] {
            let (left, right) = (tones(second(0, n), hz), tones(second(1, n), hz));
            assert!(
                left[0] > -12.0 && left[1] < -45.0 && right[1] > -12.0 && right[0] < -45.0,
                "{left:?} {right:?}"
            );
        }
        assert!(second(0, 1).iter().skip(8).chain(second(1, 2)).all(|s| *s == 0));
    }
}

#[test]
fn an_export_can_be_of_one_segment_or_stream_or_mixed() {
    let dir = recorded();
    let id = CALL.to_string();
    let export = |args: &[&str]| {
        let all = [&["export", &id, "-o", "x.wav", "--force"], args].concat();
        let ran = run(dir.path(), &all);
        assert_eq!(ran.code, 0, "{}", ran.err);
        wav(&dir.path().join("x.wav")).0
    };
    let mono = export(&["--mono"]);
    assert_eq!((mono.len(), mono[0].len()), (1, 32_000));
    assert!(tones(&mono[0][..8_000], 8_000).iter().all(|level| *level > -20.0));
    let second = export(&["--segment", "2"]);
    assert_eq!((second.len(), second[0].len()), (2, 8_000));
    let external = export(&["--stream", "0000000000002"]);
    let levels = tones(&external[0][..8_000], 8_000);
    assert!(external.len() == 1 && levels[1] > -12.0 && levels[0] < -45.0, "{levels:?}");
    fails(
        dir.path(),
        &["export", &id, "--segment", "3"],
        2,
        expect!["callspool: cannot export 00001m7w3sph0: it has no segment 3; choose one of 1, 2"],
    );
    fails(
        dir.path(),
        &["export", &id, "--stream", "0000000000009"],
        2,
        expect![
            "callspool: cannot export 00001m7w3sph0: it has no stream 0000000000009; see `callspool show` for its streams"
        ],
    );
}

#[test]
fn an_export_writes_over_nothing_unless_told_to_and_is_for_its_owner() {
    let dir = recorded();
    let id = CALL.to_string();
    let file = dir.path().join(format!("{id}.wav"));
    assert_eq!(run(dir.path(), &["export", &id]).code, 0);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "mine").unwrap();
    let ran = run(dir.path(), &["export", &id]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("exists already; choose another name, or write over it with --force"),
        "{}",
        ran.err
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(run(dir.path(), &["export", &id, "--force"]).code, 0);
    assert!(std::fs::read(&file).unwrap().starts_with(b"RIFF"));
    let piped = run(dir.path(), &["export", &id, "-o", "-"]);
    assert_eq!(piped.out, std::fs::read(&file).unwrap());
    fails(
        dir.path(),
        &["export", &id, "-o", "none/x.wav"],
        1,
        expect![
            "callspool: cannot write none/x.wav.part: No such file or directory (os error 2); name one that exists"
        ],
    );
}

#[test]
fn an_export_of_damaged_recordings_says_what_is_missing() {
    let dir = recorded();
    let id = CALL.to_string();
    std::fs::remove_file(call_dir(dir.path()).join("001-1.mka")).unwrap();
    let ran = run(dir.path(), &["export", &id]);
    assert!(ran.code == 1 && ran.err.contains("001-1.mka cannot be read"), "{}", ran.err);
    std::fs::remove_file(call_dir(dir.path()).join("002-1.mka")).unwrap();
    let ran = run(dir.path(), &["export", &id, "-o", "y.wav"]);
    assert_eq!((ran.code, dir.path().join("y.wav").exists()), (1, false), "{}", ran.err);
    assert!(!dir.path().join("y.wav.part").exists());
}

#[test]
fn verify_finds_what_was_changed() {
    let dir = recorded();
    let id = CALL.to_string();
    let sound = run(dir.path(), &["verify", &id]);
    assert_eq!(sound.code, 0, "{}", sound.text());
    assert!(sound.text().ends_with(": all as it was written\n"), "{}", sound.text());
    assert_eq!(run(dir.path(), &["verify", "--all"]).text(), sound.text());
    let part = call_dir(dir.path()).join("001-1.mka");
    let mut bytes = std::fs::read(&part).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let ran = run(dir.path(), &["verify", "--all"]);
    assert!(
        ran.code == 1 && ran.text().contains("wrong: ") && ran.text().contains("001-1.mka"),
        "{}",
        ran.text()
    );
    let json = run(dir.path(), &["verify", &id, "--json"]).text();
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((last["calls"].as_u64(), last["wrong"].as_u64()), (Some(1), Some(1)), "{json}");
}
