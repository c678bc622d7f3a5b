//! `callspool ls`: calls from the catalog, newest first.

use std::io::{self, Write};

use model::{PartyRole, WallTime};
use serde_json::json;
use store::{CallQuery, CallSummary, Catalog, CatalogError, LIST_MAX, OpenError};

use super::args::LsArgs;
use super::table::{self, Column};
use super::{CliError, Outcome, block_on, expect_catalog, text};
use crate::config::Config;

const COLUMNS: [Column; 7] = [
    Column { title: "id", cut: false },
    Column { title: "start (UTC)", cut: false },
    Column { title: "length", cut: false },
    Column { title: "parties", cut: true },
    Column { title: "seg", cut: false },
    Column { title: "state", cut: true },
    Column { title: "live", cut: false },
];

/// From so many characters on, all of a time is shown.
const WIDE: usize = 100;
/// What is left out of a time else.
const YEAR: &str = "2026-";

/// Lists them.
pub(super) fn run(config: &Config, args: &LsArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let place = expect_catalog(config)?;
    let what = || format!("cannot read the catalog {place}");
    let now = crate::clock::now().wall;
    let calls = block_on(list(&Catalog::reader(&place), config, args, now))?;
    let calls = calls.map_err(|e| CliError::failed(what(), &e, cure(&e)))?;
    let printed = if args.json { as_json(out, &calls) } else { as_table(out, &calls, now) };
    printed.map(|()| Outcome::Ok).map_err(CliError::output)
}

/// Asks page after page until there are as many as wanted.
async fn list(
    catalog: &Catalog,
    config: &Config,
    args: &LsArgs,
    now: WallTime,
) -> Result<Vec<CallSummary>, CatalogError> {
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut query = CallQuery {
        tenant: args.tenant.clone().unwrap_or_else(|| config.recording.tenant.clone()),
        from: args.since.map(|s| s.at(now)),
        state: args.state,
        live: args.live.then_some(true),
        text: args.text.clone(),
        ..CallQuery::default()
    };
    let mut calls = Vec::new();
    while calls.len() < wanted {
        let page = (wanted - calls.len()).min(LIST_MAX);
        query.limit = Some(page);
        let found = catalog.calls(&query).await?;
        let is_last = found.len() < page;
        query.after = found.last().map(CallSummary::cursor);
        calls.extend(found);
        if is_last {
            break;
        }
    }
    Ok(calls)
}

pub(super) fn cure(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::Damaged(_)
        | CatalogError::Unreadable(_)
        | CatalogError::Open(OpenError::Damaged { .. }) => {
            "stop callspool and make it anew with `callspool reindex`"
        }
        CatalogError::Open(OpenError::Version { .. } | OpenError::Tables { .. }) => {
            "use the callspool that runs on it"
        }
        CatalogError::Open(OpenError::Server { .. }) => {
            "see whether the server runs, and whether catalog.url and catalog.password_file are right"
        }
        _ => "check that this user may read it, and try again",
    }
}

fn as_table(out: &mut dyn Write, calls: &[CallSummary], now: WallTime) -> io::Result<()> {
    let width = table::terminal_width();
    // In a narrow window the year goes before callers and states are cut.
    let year = if width.is_some_and(|w| w < WIDE) { YEAR.len() } else { 0 };
    let row = |call: &CallSummary| {
        let until = call.ended.unwrap_or(if call.live { now } else { call.started });
        let length = if call.ended.is_some() || call.live {
            text::length(until.since(call.started))
        } else {
            String::new()
        };
        vec![
            call.id.to_string(),
            text::time(call.started).get(year..).unwrap_or_default().to_owned(),
            length,
            text::parties_in_short(&call.parties),
            format!("{}/{}", call.segments, call.total),
            call.state.name().to_owned(),
            if call.live { "live".to_owned() } else { String::new() },
        ]
    };
    let rows: Vec<Vec<String>> = calls.iter().map(row).collect();
    table::print(out, &COLUMNS, &rows, width)
}

fn as_json(out: &mut dyn Write, calls: &[CallSummary]) -> io::Result<()> {
    for call in calls {
        let party = |role| {
            call.parties.iter().find(|p| p.role == role).and_then(|p| p.number.as_ref().or(p.uri.as_ref()))
        };
        let object = json!({
            "id": call.id,
            "tenant": call.tenant,
            "started": call.started,
            "ended": call.ended,
            "state": call.state,
            "code": call.state.code(),
            "live": call.live,
            "segments": call.segments,
            "total": call.total,
            "direction": call.direction,
            "caller": party(PartyRole::Caller),
            "called": party(PartyRole::Called),
            "parties": call.parties,
        });
        writeln!(out, "{object}")?;
    }
    Ok(())
}
