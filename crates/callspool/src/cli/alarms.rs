//! `callspool alarms`: what is wrong now, or what was, newest first. Its exit code is for monitoring.

use std::io::{self, Write};

use model::{Severity, WallTime};
use serde_json::json;
use store::{AlarmQuery, AlarmRow, Catalog, LIST_DEFAULT};

use super::args::AlarmsArgs;
use super::ls::cure;
use super::table::{self, Column};
use super::{CliError, Outcome, block_on, expect_catalog, text};
use crate::config::Config;
use crate::control::AlarmsStand;

const COLUMNS: [Column; 7] = [
    Column { title: "since (UTC)", cut: false },
    Column { title: "lasted", cut: false },
    Column { title: "severity", cut: false },
    Column { title: "kind", cut: false },
    Column { title: "subject", cut: false },
    Column { title: "count", cut: false },
    Column { title: "text", cut: true },
];

/// Lists them; [`Outcome::Failed`] when something critical is active.
pub(super) fn run(config: &Config, args: &AlarmsArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let wanted = AlarmQuery {
        tenant: config.recording.tenant.clone(),
        active: !args.all,
        limit: usize::try_from(args.limit).ok(),
        ..AlarmQuery::default()
    };
    // Asked apart, so that no limit hides it.
    let worst =
        AlarmQuery { active: true, severity: Some(Severity::Critical), limit: Some(1), ..wanted.clone() };
    let serving = super::operate::alarms(&config.node.data_dir);
    let (rows, is_critical) = match serving {
        Some(serving) if serving.catalog_away && wanted.active => {
            eprintln!("callspool: the catalog is away; this is what the process that serves has in memory");
            in_memory(serving, &wanted, &worst)
        }
        serving => match (in_catalog(config, &wanted, &worst), serving) {
            (Ok(found), _) => found,
            (Err(e), None) => return Err(e),
            (Err(e), Some(serving)) => {
                eprintln!("{e}; this is what the process that serves has in memory");
                in_memory(serving, &AlarmQuery { active: true, ..wanted }, &worst)
            }
        },
    };
    let printed = if args.json { as_json(out, &rows) } else { as_table(out, &rows) };
    printed.map_err(CliError::output)?;
    Ok(if is_critical { Outcome::Failed } else { Outcome::Ok })
}

/// The alarms to show, and whether something critical is active.
type Found = (Vec<AlarmRow>, bool);

fn in_catalog(config: &Config, wanted: &AlarmQuery, worst: &AlarmQuery) -> Result<Found, CliError> {
    let place = expect_catalog(config)?;
    let what = || format!("cannot read the catalog {place}");
    let catalog = Catalog::reader(&place);
    let asked = block_on(async {
        let rows = catalog.alarms(wanted).await?;
        Ok::<_, store::CatalogError>((rows, !catalog.alarms(worst).await?.is_empty()))
    })?;
    asked.map_err(|e| CliError::failed(what(), &e, cure(&e)))
}

fn in_memory(serving: AlarmsStand, wanted: &AlarmQuery, worst: &AlarmQuery) -> Found {
    let rows: Vec<AlarmRow> = serving.lasting.into_iter().map(AlarmRow::from).collect();
    let is_critical = rows.iter().any(|row| worst.takes(row));
    let shown = rows.into_iter().filter(|row| wanted.takes(row));
    (shown.take(wanted.limit.unwrap_or(LIST_DEFAULT)).collect(), is_critical)
}

fn as_table(out: &mut dyn Write, rows: &[AlarmRow]) -> io::Result<()> {
    let lasted = |row: &AlarmRow| match row.alarm.cleared {
        Some(at) => text::length(at.since(row.alarm.raised)),
        None if row.alarm.is_active() => "active".to_owned(),
        None => String::new(),
    };
    let row = |row: &AlarmRow| {
        vec![
            text::time(row.alarm.raised),
            lasted(row),
            row.alarm.severity.name().to_owned(),
            row.alarm.kind.name().to_owned(),
            text::clean(&row.alarm.subject.to_string()),
            row.alarm.count.to_string(),
            text::clean(&row.alarm.text),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    table::print(out, &COLUMNS, &rows, table::terminal_width())
}

fn as_json(out: &mut dyn Write, rows: &[AlarmRow]) -> io::Result<()> {
    for AlarmRow { id, tenant, node, alarm } in rows {
        let seconds = |until: WallTime| until.since(alarm.raised).as_secs();
        let object = json!({
            "id": id,
            "tenant": tenant,
            "node": node,
            "kind": alarm.kind,
            "severity": alarm.severity,
            "subject": alarm.subject,
            "call": alarm.call,
            "segment": alarm.segment,
            "active": alarm.is_active(),
            "raised": alarm.raised,
            "cleared": alarm.cleared,
            "lasted_s": alarm.cleared.map(seconds),
            "count": alarm.count,
            "text": alarm.text,
        });
        writeln!(out, "{object}")?;
    }
    Ok(())
}
