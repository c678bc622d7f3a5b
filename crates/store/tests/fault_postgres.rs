//! The writer over a server with PostgreSQL that is ended in the middle, replaced by a standby, or holds it up. Needs its
//! programs (Debian: `postgresql`); the servers are the tests' own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;
use std::time::Duration;

use fixture::postgres::Server;
use fixture::writer::{Writer, block_on, calls};
use fixture::{call_id, event_id, story};
use model::{Change, EventId};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sqlx::{Connection, PgConnection};
use store::{Catalog, PostgresSettings, Report};

const REBUILT: fn(&Report) -> bool = |r| matches!(r, Report::Rebuilt { .. });
const BACK: fn(&Report) -> bool = |r| matches!(r, Report::Back { .. });

fn writer(settings: PostgresSettings) -> Writer {
    // What the tests tell is of 2020.
    let century = Duration::from_secs(100 * 365 * 24 * 3_600);
    Writer::start_at(settings, tempfile::tempdir().unwrap(), |config| config.events_kept = century)
}

/// What each reader of the outbox gets, from the first on.
fn events(settings: &PostgresSettings) -> Vec<EventId> {
    block_on(async {
        let catalog = Catalog::reader(settings.clone());
        let mut all: Vec<EventId> = Vec::new();
        loop {
            let after = all.last().copied().unwrap_or(event_id(0));
            let page = catalog.events(after, 1_000).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.iter().map(|event| event.id));
        }
    })
}

/// Every change is there once, and every call.
fn expect_all(settings: &PostgresSettings, told: &[Change]) {
    let found = events(settings);
    let once: BTreeSet<EventId> = found.iter().copied().collect();
    let missing = told.iter().filter(|change| !once.contains(&change.id)).count();
    assert_eq!((found.len(), once.len(), missing), (told.len(), told.len(), 0));
    let mut expected: Vec<_> = (1..=told.len() as u64 / 14).map(call_id).collect();
    expected.reverse();
    assert_eq!(calls(settings.clone()), expected);
}

#[test]
fn a_server_that_crashes_in_the_middle_costs_nothing() {
    let mut server = Server::start();
    let settings = server.settings(&server.make_database());
    let told: Vec<Change> = (1..=200).flat_map(story).collect();
    let (before, after) = told.split_at(1_400);
    let writer = writer(settings.clone());
    writer.until_reported("rebuilt", REBUILT);
    writer.tell(before);
    writer.until("written in part", |s| s.written > 0);
    server.crash();
    writer.tell(after);
    writer.until_journaled();
    let why = writer.handle.status().away_why.unwrap();
    assert!(why.contains("does not answer"), "{why}");
    server.run();
    writer.until_reported("back", BACK);
    let status = writer.until_written(0);
    assert_eq!((status.lost, status.refused, status.damaged_lines), (0, 0, 0));
    drop(writer.stop());
    expect_all(&settings, &told);
}

/// A standby that has not received the last of it takes over: what the writer remembers is written again.
#[test]
fn a_standby_that_takes_over_has_all_in_the_end() {
    let mut primary = Server::start();
    let database = primary.make_database();
    let told: Vec<Change> = (1..=60).flat_map(story).collect();
    let (first, rest) = told.split_at(20 * 14);
    let (second, third) = rest.split_at(20 * 14);
    let mut standby = Server::standby_of(&primary);
    let hosts = [primary.directory(), standby.directory()].map(|d| format!("host={}", d.display()));
    let settings: PostgresSettings =
        format!("postgres://callspool@/{database}?{}", hosts.join("&")).parse().unwrap();
    let writer = writer(settings.clone());
    writer.tell(first);
    writer.until_written(first.len() as u64);
    standby.until_received(&primary);
    standby.crash();
    writer.tell(second);
    writer.until_written((first.len() + second.len()) as u64);
    primary.crash();
    writer.tell(third);
    writer.until_journaled();
    let wanted = writer.handle.status().reindex_wanted;
    // A standby answers questions, and takes no writes.
    standby.run();
    assert_eq!(calls(settings.clone()).len(), 20);
    assert!(writer.handle.status().away_for.is_some());
    standby.promote();
    writer.until_reported("back", BACK);
    writer.until_written(told.len() as u64);
    // Nothing is lost that a reindex would have to bring back.
    assert_eq!(writer.handle.status().reindex_wanted, wanted);
    drop(writer.stop());
    expect_all(&settings, &told);
}

#[test]
fn another_catalog_in_its_place_wants_a_reindex() {
    let server = Server::start();
    let database = server.make_database();
    let settings = server.settings(&database);
    let writer = writer(settings.clone());
    writer.tell(&story(1));
    writer.until_written(14);
    let wanted = writer.handle.status().reindex_wanted;
    server.run_in("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    writer.tell(&story(2));
    writer.until_journaled();
    server.run_in("postgres", &format!("CREATE DATABASE {database}"));
    writer.until("wanted again", |s| s.reindex_wanted > wanted);
    writer.until_written(28);
    assert_eq!(calls(settings), [call_id(2)]);
}

#[test]
fn locked_by_another_it_goes_on_in_the_journal_and_comes_back() {
    let server = Server::start();
    let database = server.make_database();
    let settings = server.settings(&database);
    let writer = writer(settings.clone());
    writer.tell(&story(1));
    writer.until_written(14);
    block_on(async {
        let mut other = PgConnection::connect_with(&server.options(&database)).await.unwrap();
        let mut locked = other.begin().await.unwrap();
        sqlx::query("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE").execute(&mut *locked).await.unwrap();
        writer.tell(&story(2));
        writer.until_journaled();
        locked.rollback().await.unwrap();
    });
    writer.until_written(28);
    assert_eq!(calls(settings), [call_id(2), call_id(1)]);
}

#[test]
fn what_is_said_over_a_network_is_encrypted_and_verified() {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, others) = (authority("ours"), authority("others"));
    let key = KeyPair::generate().unwrap();
    let named = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = named.signed_by(&key, &ours).unwrap();
    let (server, port) = Server::start_on_a_network(&certificate.pem(), &key.serialize_pem());
    server.run_in("postgres", "CREATE ROLE spool LOGIN PASSWORD 'p@ss'");
    server.run_in("postgres", "CREATE DATABASE calls OWNER spool");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (ours, others) = (file("ours.pem", ours.pem()), file("others.pem", others.pem()));
    // Connections last as long as it does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = |host: &str, password: &str, ca: &str| {
        let url =
            format!("postgres://spool:{password}@{host}:{port}/calls?sslmode=verify-full&sslrootcert={ca}");
        runtime.block_on(async { Catalog::open(url.parse::<PostgresSettings>().unwrap()).await })
    };
    let refused = |host: &str, password: &str, ca: &str| {
        let error = open(host, password, ca).unwrap_err().to_string();
        assert!(!error.contains(&password.replace("%40", "@")), "{error}");
        error
    };
    assert!(refused("localhost", "p%40ss", &others).contains("UnknownIssuer"));
    let named = refused("127.0.0.1", "p%40ss", &ours);
    assert!(named.contains("not valid for name") || named.contains("NotValidForName"), "{named}");
    let wrong = refused("localhost", "wr%40ng", &ours);
    assert!(wrong.contains("authentication failed"), "{wrong}");
    let catalog = open("localhost", "p%40ss", &ours).unwrap();
    let encrypted = "SELECT 1 / CASE WHEN bool_and(ssl) THEN 1 ELSE 0 END FROM pg_stat_ssl JOIN pg_stat_activity \
         USING (pid) WHERE application_name = 'callspool'";
    server.run_in("calls", encrypted);
    runtime.block_on(catalog.close());
}

#[test]
fn a_reader_finds_the_server_again() {
    let mut server = Server::start();
    let database = server.make_database();
    let settings = server.settings(&database);
    let tell = async |n: u64| {
        let catalog = Catalog::open(settings.clone()).await.unwrap();
        catalog.apply(&story(n)).await.unwrap();
        catalog.close().await;
    };
    let reader = Catalog::reader(settings.clone());
    let found = async || reader.calls(&store::CallQuery::default()).await.map(|calls| calls.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tell(1).await;
        assert_eq!(found().await.unwrap(), 1);
    });
    server.crash();
    runtime.block_on(async { assert!(found().await.is_err()) });
    server.run();
    runtime.block_on(async {
        tell(2).await;
        assert_eq!(found().await.unwrap(), 2);
    });
}
