//! The writer over real files that are taken away, locked, filled up and damaged under it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fixture::writer::{Writer, block_on, calls};
use fixture::{call_id, change, story};
use model::{Change, TenantId};
use sqlx::{Connection, SqliteConnection};
use store::{Catalog, CatalogWriter, Report, WriterConfig};

const REBUILT: fn(&Report) -> bool = |r| matches!(r, Report::Rebuilt { .. });

#[test]
fn what_is_told_is_written_in_batches() {
    let writer = Writer::start();
    for n in 1..=100 {
        writer.tell(&story(n));
    }
    let status = writer.until_written(1_100);
    assert_eq!((status.lost, status.refused, status.away_for), (0, 0, None));
    assert_eq!(writer.calls().len(), 100);
}

/// A fault of ours, or of SQLite: it would fail for ever, and hold up all that comes behind it.
#[test]
fn what_fails_for_a_reason_that_nobody_foresaw_holds_up_nothing() {
    let writer = Writer::start();
    writer.tell(&story(1));
    writer.until_written(11);
    let spoilt = call_id(2).as_u64();
    let trigger = format!(
        "CREATE TRIGGER fault BEFORE INSERT ON calls WHEN NEW.id = {spoilt} BEGIN SELECT json_extract('{{', '$'); END"
    );
    let run = |sql: String| {
        block_on(async {
            let path = format!("sqlite://{}", writer.path().display());
            let mut db = SqliteConnection::connect(&path).await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut db).await.unwrap();
        });
    };
    run(trigger);
    // Alone it cannot be told from a catalog that fails: it waits in the journal.
    writer.tell(&story(2)[..1]);
    writer.until_journaled();
    writer.tell(&story(3));
    writer.until_reported("refused", |r| matches!(r, Report::Refused { .. }));
    writer.until("written", |s| s.refused == 1 && s.queued == 0 && s.journal_bytes == 0);
    assert_eq!(writer.calls(), [call_id(3), call_id(1)]);
}

#[test]
fn a_stop_writes_what_is_left() {
    let writer = Writer::start();
    writer.until("open", |s| s.reindex_wanted.is_some());
    writer.tell(&story(1));
    let directory = writer.stop();
    assert_eq!(calls(directory.path().join("catalog.db")), [call_id(1)]);
}

#[test]
fn locked_by_another_process_it_goes_on_in_the_journal_and_returns() {
    let writer = Writer::start();
    writer.tell(&story(1));
    writer.until_written(11);
    block_on(async {
        let mut other =
            SqliteConnection::connect(&format!("sqlite://{}", writer.path().display())).await.unwrap();
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
        writer.tell(&story(2));
        writer.until_journaled();
        writer.tell(&story(3));
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    });
    writer.until_written(33);
    // More than 22 where a batch was slow and went both ways: telling twice changes nothing.
    writer.until_reported("back", |r| matches!(r, Report::Back { replayed } if *replayed >= 22));
    assert_eq!(writer.calls(), [call_id(3), call_id(2), call_id(1)]);
}

#[test]
fn deleted_it_is_made_anew_and_a_reindex_is_wanted() {
    for suffixes in [&[""][..], &["", "-wal", "-shm"][..]] {
        let writer = Writer::start();
        writer.tell(&story(1));
        let first = writer.until_written(11).reindex_wanted.expect("a new catalog");
        writer.handle.reindexed(first);
        writer.reports.lock().unwrap().clear();
        for suffix in suffixes {
            fs::remove_file(format!("{}{suffix}", writer.path().display())).unwrap();
        }
        writer.tell(&story(2));
        writer.until_reported("rebuilt", REBUILT);
        writer.until("written again", |s| s.written >= 22 && s.queued == 0 && s.journal_bytes == 0);
        assert_eq!(writer.calls(), [call_id(2)], "without {suffixes:?}");
        assert!(writer.handle.status().reindex_wanted.is_some());
    }
}

#[test]
fn replaced_by_garbage_it_is_set_aside_and_made_anew() {
    let writer = Writer::start();
    writer.tell(&story(1));
    writer.until_written(11);
    writer.reports.lock().unwrap().clear();
    let other = writer.path().with_extension("other");
    fs::write(&other, [0x5a; 20_000]).unwrap();
    fs::rename(&other, writer.path()).unwrap();
    writer.tell(&story(2));
    writer.until_reported("rebuilt", REBUILT);
    writer.until("written again", |s| s.written >= 22 && s.queued == 0 && s.journal_bytes == 0);
    assert_eq!(writer.calls(), [call_id(2)]);
    // The first name went to what the old catalog had left beside it.
    let kept = fs::read_dir(writer.directory.path())
        .unwrap()
        .any(|f| f.unwrap().file_name().to_string_lossy().ends_with(".damaged-2"));
    assert!(kept, "the damaged file is gone");
}

#[test]
fn garbage_at_the_start_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("catalog.db"), "This is not a catalog, it is a poem.\n".repeat(99))
        .unwrap();
    let writer = Writer::start_in(directory, |_| {});
    writer.tell(&story(1));
    writer.until_reported("rebuilt", REBUILT);
    writer.until_written(11);
    assert_eq!(writer.calls(), [call_id(1)]);
}

/// A directory is in the way of the catalog: nobody removes it, and all is there when somebody has.
#[test]
fn what_cannot_be_opened_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("catalog.db")).unwrap();
    let writer = Writer::start_in(directory, |_| {});
    writer.tell(&story(1));
    writer.until_journaled();
    fs::remove_dir(writer.path()).unwrap();
    writer.until_written(11);
    assert_eq!(writer.calls(), [call_id(1)]);
}

/// Byte 18 of the header above 2 tells SQLite (section 1.3.3 of its file format) that it may only read.
#[test]
fn read_only_it_goes_on_in_the_journal_and_still_answers() {
    let writer = Writer::start();
    writer.tell(&story(1));
    writer.until_written(11);
    let directory = writer.stop();
    let path = directory.path().join("catalog.db");
    let patch = |value: u8| {
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(bytes[19], 2, "WAL");
        bytes[18] = value;
        fs::write(&path, bytes).unwrap();
    };
    patch(3);
    let writer = Writer::start_in(directory, |_| {});
    writer.tell(&story(2));
    writer.until_journaled();
    let why = writer.handle.status().away_why.unwrap();
    assert!(why.contains("readonly"), "{why}");
    assert_eq!(writer.calls(), [call_id(1)]);
    let directory = writer.stop();
    patch(2);
    let writer = Writer::start_in(directory, |_| {});
    writer.until_written(11);
    assert_eq!(writer.calls(), [call_id(2), call_id(1)]);
}

/// The disk is full for the catalog: the process may write no file beyond 400 KiB (`ulimit -f`), which is as
/// near to ENOSPC as a test comes that needs no mount. The test runs itself again under that limit.
#[test]
fn disk_full_goes_on_in_the_journal() {
    const CHILD: &str = "STORE_TEST_DISK_FULL";
    if let Ok(directory) = std::env::var(CHILD) {
        return disk_full_child(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 400 && exec \"$0\" --exact disk_full_goes_on_in_the_journal"])
        .arg(me)
        .env(CHILD, directory.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let writer = Writer::start_in(directory, |_| {});
    writer.until("all there", |s| s.journal_bytes == 0 && s.away_for.is_none() && s.written > 0);
    assert_eq!(writer.calls().len(), 300);
}

fn disk_full_child(directory: &Path) {
    let config = WriterConfig::new(directory.join("catalog.db"), &directory.join("journal.ndjson"));
    let (handle, worker) = CatalogWriter::with_config(config);
    let thread = std::thread::spawn(move || worker.run(|_| {}).unwrap());
    for n in 1..=300 {
        // One change a call keeps the journal below the limit of the file size, rows and indexes do not.
        handle.tell(story(n).remove(7));
        std::thread::sleep(Duration::from_millis(1));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while handle.status().away_for.is_none() || handle.status().queued > 0 {
        assert!(Instant::now() < deadline, "the disk never was full: {:?}", handle.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(handle.status().lost, 0);
    handle.stop();
    thread.join().unwrap();
}

#[test]
fn what_neither_catalog_nor_journal_takes_is_counted_and_noted_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("catalog.db")).unwrap();
    let writer = Writer::start_in(directory, |c| c.journal_bytes_max = 200_000);
    let many: Vec<Change> =
        (0..18_000).map(|n| change(n + 1, fixture::extra(1, "key", &n.to_string()))).collect();
    let began = Instant::now();
    for change in many {
        writer.handle.tell(change);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "telling waited: {:?}", began.elapsed());
    let status = writer.until("lost", |s| s.lost > 0 && s.journal_bytes > 0);
    assert!(status.lost < 18_000 - 16_384 + 1, "{status:?}");
    writer.until_reported("lost", |r| matches!(r, Report::Lost { .. }));
    assert!(writer.directory.path().join("journal.ndjson.reindex").exists());
    // The catalog returns: what was kept in journal and memory is written, and a reindex stays wanted.
    fs::remove_dir(writer.path()).unwrap();
    let status = writer.until("written", |s| s.queued == 0 && s.journal_bytes == 0);
    assert_eq!(status.written + status.lost, 18_000);
    writer.handle.reindexed(status.reindex_wanted.unwrap());
    assert_eq!(writer.handle.status().reindex_wanted, None);
    assert!(!writer.directory.path().join("journal.ndjson.reindex").exists());
}

#[test]
fn a_kill_leaves_a_journal_that_the_next_start_replays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    store::journal::Journal::open(&path, 1 << 20).unwrap().append(&story(1)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 7);
    fs::write(&path, bytes).unwrap();
    let writer = Writer::start_in(directory, |_| {});
    writer.until_written(10);
    assert_eq!(writer.calls(), [call_id(1)]);
    let directory = writer.stop();
    // Not asked for a reindex before the restart, it is still wanted after it.
    let writer = Writer::start_in(directory, |_| {});
    writer.until_reported("rebuilt", REBUILT);
    assert!(writer.handle.status().reindex_wanted.is_some());
}

#[test]
fn a_reader_follows_the_file_that_lies_at_the_path() {
    let writer = Writer::start();
    writer.tell(&story(1));
    writer.until_written(11);
    block_on(async {
        let reader = Catalog::reader(writer.path());
        assert!(reader.call(&TenantId::default(), call_id(1)).await.unwrap().is_some());
        fs::remove_file(writer.path()).unwrap();
        writer.tell(&story(2));
        writer.until_reported(
            "rebuilt",
            |r| matches!(r, Report::Rebuilt { why, .. } if why.contains("deleted")),
        );
        writer.until("written", |s| s.written >= 22 && s.queued == 0 && s.journal_bytes == 0);
        assert!(reader.call(&TenantId::default(), call_id(2)).await.unwrap().is_some());
        assert!(reader.call(&TenantId::default(), call_id(1)).await.unwrap().is_none());
    });
}

#[test]
fn a_catalog_of_a_newer_version_is_left_alone() {
    let writer = Writer::start();
    writer.tell(&story(1));
    writer.until_written(11);
    let directory = writer.stop();
    let path = directory.path().join("catalog.db");
    block_on(async {
        let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'from the future', 1, x'00', 0)";
        sqlx::query(newer).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    });
    let writer = Writer::start_in(directory, |_| {});
    writer.tell(&story(2));
    writer.until_journaled();
    let why = writer.handle.status().away_why.unwrap();
    assert!(why.contains("do not fit this version"), "{why}");
    assert_eq!(writer.calls(), [call_id(1)]);
}
