//! Two live calls turn out to be one, one of their two logs does not take it, and the process is killed: the next start
//! finds it in the other log, writes what is missing, and the call is one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use fault_support::caller::place;
use fault_support::listing::{expect_sound, wait_for_repair};
use fault_support::orders::Orders;
use support::rtp::{Hum, Mouth};
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

const SESSION: &str =
    "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2\r\n";

/// How often the logs of a call say that it is one with another.
fn said(server: &Server) -> Vec<usize> {
    let directories = fault_support::listing::directories(&server.state().join("repository"));
    // A call that had nothing to say yet has no log.
    let logs = directories.iter().map(|d| std::fs::read_to_string(d.join("call.log")).unwrap_or_default());
    logs.map(|log| log.matches("\"type\":\"joined").count()).collect()
}

fn live(server: &Server, count: usize) -> Vec<String> {
    wait_until(&format!("{count} live calls"), PATIENCE, || {
        let calls = server.calls();
        let is_so = calls.len() == count && calls.iter().all(|c| c.live);
        if is_so { Ok(calls.iter().rev().map(|c| c.id.clone()).collect()) } else { Err(format!("{calls:?}")) }
    })
}

#[test]
fn a_join_that_only_one_log_took_before_a_kill_is_whole_after_the_next_start() {
    for broken in [0, 1] {
        let mut server = Server::prepare(&[]);
        let orders = Orders::of(&mut server);
        server.restart();
        let mouths = [Mouth::open(), Mouth::open()];
        let (mut first, to) = Dialog::begin(&server, "one", mouths[0].port());
        let one = Hum::begin(&mouths[0], to);
        live(&server, 1);
        let (mut second, to) = Dialog::begin(&server, "two", mouths[1].port());
        let two = Hum::begin(&mouths[1], to);
        let ids = live(&server, 2);
        let rule = format!("append-line~{}:fail@1+", ids[broken]);
        orders.give(&rule);
        first.info(SESSION, "");
        second.info(SESSION, "");
        orders.expect_obeyed(&server, &rule);
        live(&server, 1);
        wait_until("the other log to have it", PATIENCE, || {
            let mut said = said(&server);
            said.sort_unstable();
            if said == [0, 1] { Ok(()) } else { Err(format!("{said:?}")) }
        });
        server.kill();
        one.end();
        two.end();
        orders.withdraw();
        server.restart();
        wait_for_repair(&server.state().join("repository"));
        wait_until("one call that is over", PATIENCE, || {
            let calls = server.calls();
            let is_so = calls.len() == 1
                && (calls[0].state.as_str(), calls[0].segments, calls[0].total)
                    == ("complete-internal-error", 2, 2);
            if is_so { Ok(()) } else { Err(format!("{calls:?}")) }
        });
        assert_eq!(said(&server), [1, 1]);
        assert_eq!(server.calls()[0].id, ids[0]);
        expect_sound(server);
    }
}

/// Both are concluded when somebody joins them: nothing but what the data directory keeps leads a start to them.
#[test]
fn a_join_of_calls_that_are_over_that_only_one_log_took_is_whole_after_the_next_start() {
    for broken in [0, 1] {
        let mut server = Server::prepare(&[]);
        let orders = Orders::of(&mut server);
        server.restart();
        place(&server, "both", &["--calls", "2", "--duration", "300ms"]);
        let is_complete = |server: &Server| {
            let calls = server.calls();
            let is_so = calls.len() == 2 && calls.iter().all(|c| c.state == "complete");
            if is_so { Ok(()) } else { Err(format!("{calls:?}")) }
        };
        wait_until("two complete calls", PATIENCE, || is_complete(&server));
        let ids: Vec<String> = server.calls().iter().rev().map(|c| c.id.clone()).collect();
        assert_eq!(server.stop().code(), Some(0));
        server.restart();
        let rule = format!("append-line~{}:fail@1+", ids[broken]);
        orders.give(&rule);
        server.callspool(&["join", &ids[0], &ids[1]]).expect_ok("join");
        orders.expect_obeyed(&server, &rule);
        let mut half = said(&server);
        half.sort_unstable();
        assert_eq!(half, [0, 1]);
        server.kill();
        orders.withdraw();
        server.restart();
        wait_until("one call that is whole", PATIENCE, || {
            let calls = server.calls();
            let is_so = calls.len() == 1
                && (calls[0].state.as_str(), calls[0].segments, calls[0].total) == ("complete", 2, 2);
            if is_so && said(&server) == [1, 1] { Ok(()) } else { Err(format!("{calls:?}")) }
        });
        assert_eq!(server.calls()[0].id, ids[0]);
        expect_sound(server);
    }
}
