//! What was found: lines for people as soon as there are some, and a JSON document at the end.

use std::io::{self, Write};

use model::WallTime;
use serde_json::{Value, json};

use super::ramp::Held;
use super::step::{Limits, Step, What};

/// The number of the JSON document's form.
const FORM: u32 = 1;

/// Circumstances of a measurement.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) at: WallTime,
    /// Of the callspool that was measured, and where it receives SIP.
    pub(super) version: String,
    pub(super) target: String,
    /// Of this program's machine.
    pub(super) machine: String,
    pub(super) load_before: f64,
    /// What the target records on, where that is known.
    pub(super) disk: Option<String>,
    /// How many processors it has to itself; none: it shares them with the traffic, or that is not known.
    pub(super) cores: Option<usize>,
    /// The calls, in words.
    pub(super) kind: String,
    pub(super) limits: Limits,
    /// Settings that were given to a callspool of our own.
    pub(super) settings: Vec<(String, String)>,
}

/// What was found by raising one thing.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) what: What,
    /// In the order in which they were measured.
    pub(super) steps: Vec<Step>,
    /// The most that held.
    pub(super) most: Option<usize>,
    /// Packets that were sent in all, and what the accounts of the recordings hold, where they were told in time.
    pub(super) accounts: Option<(u64, Option<u64>)>,
    pub(super) was_interrupted: bool,
    /// What ended it before a limit was found, if something did.
    pub(super) ended: Option<String>,
}

impl Series {
    /// What kept more from holding: of the least load that did not.
    fn why(&self, limits: &Limits) -> Option<String> {
        let broke = self.steps.iter().filter(|s| s.held(self.what, limits) == Held::No);
        let least = broke.min_by_key(|s| s.load)?;
        Some(format!("at {}: {}", least.load, least.crossed(self.what, limits).first()?))
    }

    /// The result in a line.
    pub(super) fn verdict(&self, limits: &Limits) -> String {
        let unit = match self.what {
            What::Calls => "calls at a time",
            What::Rate => "new calls per second",
        };
        let most = match self.most {
            Some(most) => format!("{most} {unit} within the limits"),
            None => format!("no load was within the limits ({unit})"),
        };
        let more = match self.why(limits) {
            Some(why) => why,
            None if self.ended.is_some() => format!("ended: {}", self.ended.as_deref().unwrap_or_default()),
            None if self.was_interrupted => "interrupted before a limit was found".to_owned(),
            None => "more was not tried".to_owned(),
        };
        format!("{most}; {more}")
    }
}

pub(super) fn begin(out: &mut dyn Write, about: &About) -> io::Result<()> {
    let About { version, target, machine, load_before, kind, limits, .. } = about;
    writeln!(out, "measured  callspool {version} at {target}, {}", about.at)?;
    writeln!(out, "machine   {machine}; load before {load_before}")?;
    match about.cores {
        Some(cores) => writeln!(out, "          {cores} of them for callspool alone")?,
        None => writeln!(out, "          the traffic may use the same processors")?,
    }
    if let Some(disk) = &about.disk {
        let note =
            if disk == "tmpfs" { ", which is memory: name a directory on a disk by --dir" } else { "" };
        writeln!(out, "disk      {disk}{note}")?;
    }
    for (key, value) in &about.settings {
        writeln!(out, "setting   {key} = {value}")?;
    }
    writeln!(out, "calls     {kind}")?;
    writeln!(
        out,
        "limits    loss {} %, INVITE to 200 p99 {} ms, media delay p99 {} ms",
        limits.loss * 100.0,
        limits.setup_ms,
        limits.delay_ms
    )?;
    out.flush()
}

pub(super) fn head(out: &mut dyn Write, what: What) -> io::Result<()> {
    let load = match what {
        What::Calls => "calls",
        What::Rate => "calls/s",
    };
    writeln!(out)?;
    writeln!(
        out,
        "{load:>8}  {:>10}  {:>9}  {:>13}  {:>11}  {:>6}  {:>8}  held",
        "packets/s", "lost", "200: p99", "delay p99", "CPU", "memory"
    )
}

/// A line for a step, as soon as it is measured.
pub(super) fn row(out: &mut dyn Write, what: What, step: &Step, limits: &Limits) -> io::Result<()> {
    let crossed: Vec<String> = step.crossed(what, limits).iter().map(ToString::to_string).collect();
    let held = if crossed.is_empty() { "yes".to_owned() } else { format!("no: {}", crossed.join("; ")) };
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    writeln!(
        out,
        "{:>8}  {:>10.0}  {:>9}  {:>13}  {:>11}  {:>6.2}  {:>4.0} MiB  {held}",
        step.load,
        step.packets_s,
        step.lost().map_or_else(|| "unknown".to_owned(), |lost| lost.to_string()),
        ms(step.setup_ms.map(|[_, p99, _]| p99)),
        ms(step.delay_ms.map(|[_, p99]| p99)),
        step.cpu,
        step.memory_mib,
    )?;
    out.flush()
}

pub(super) fn end(out: &mut dyn Write, series: &Series, limits: &Limits) -> io::Result<()> {
    match series.accounts {
        Some((sent, Some(accounted))) => {
            let lost = sent.saturating_sub(accounted);
            writeln!(
                out,
                "{sent} packets sent in all, {accounted} in the accounts of the recordings, {lost} not"
            )?;
        }
        Some((sent, None)) => {
            writeln!(out, "{sent} packets sent in all; recordings were not sealed in time to count them")?
        }
        None => {}
    }
    writeln!(out, "{}", series.verdict(limits))?;
    out.flush()
}

/// docs/benchmarks.md has its fields.
pub(super) fn to_json(about: &About, series: &[Series]) -> Value {
    let limits = &about.limits;
    let settings: serde_json::Map<String, Value> =
        about.settings.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let mut document = json!({
        "form": FORM,
        "at": about.at.to_string(),
        "version": about.version,
        "target": about.target,
        "machine": about.machine,
        "load_before": about.load_before,
        "disk": about.disk,
        "processors": about.cores,
        "kind": about.kind,
        "settings": settings,
        "limits": { "loss": limits.loss, "setup_p99_ms": limits.setup_ms, "delay_p99_ms": limits.delay_ms },
    });
    for series in series {
        let found = json!({
            "most": series.most,
            "verdict": series.verdict(limits),
            "interrupted": series.was_interrupted,
            "ended": series.ended,
            "packets_sent": series.accounts.map(|(sent, _)| sent),
            "packets_accounted": series.accounts.and_then(|(_, accounted)| accounted),
            "steps": series.steps.iter().map(|s| step(series.what, s, limits)).collect::<Vec<_>>(),
        });
        if let Some(document) = document.as_object_mut() {
            document.insert(series.what.name().to_owned(), found);
        }
    }
    document
}

fn step(what: What, step: &Step, limits: &Limits) -> Value {
    let crossed: Vec<String> = step.crossed(what, limits).iter().map(ToString::to_string).collect();
    json!({
        "load": step.load,
        "reached": step.reached,
        "held": crossed.is_empty(),
        "crossed": crossed,
        "invited": step.invited,
        "failed": step.failed,
        "refusals": step.refusals,
        "resent": step.resent,
        "setup_median_ms": step.setup_ms.map(|[median, ..]| median),
        "setup_p99_ms": step.setup_ms.map(|[_, p99, _]| p99),
        "setup_worst_ms": step.setup_ms.map(|[.., worst]| worst),
        "refusal_p99_ms": step.refusal_ms.map(|[_, p99, _]| p99),
        "packets_s": step.packets_s,
        "sent": step.sent.packets,
        "received": step.received,
        "lost": step.lost(),
        "dropped": step.dropped,
        "kernel_drops": step.kernel,
        "delay_median_ms": step.delay_ms.map(|[median, _]| median),
        "delay_p99_ms": step.delay_ms.map(|[_, p99]| p99),
        "cpu_processors": step.cpu,
        "memory_mib": step.memory_mib,
        "catalog_s": step.catalog_s,
        "catalog_waiting": step.catalog_waiting,
        "generator_left_out": step.sent.late,
        "generator_refused": step.sent.refused,
        "generator_late_p99_ms": step.sent.lateness.quantile_ms(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::traffic::Sent;

    fn limits() -> Limits {
        Limits { loss: 0.0, setup_ms: 500.0, delay_ms: 20.0 }
    }

    fn step_of(load: usize, lost: u64) -> Step {
        let sent = Sent { packets: 1_000, ..Sent::default() };
        Step { load, reached: load as f64, received: 1_000 - lost, sent, ..Step::default() }
    }

    #[test]
    fn the_verdict_names_the_most_and_what_stopped_it() {
        let mut series = Series {
            what: What::Calls,
            steps: vec![step_of(100, 0), step_of(200, 9), step_of(150, 7)],
            most: Some(100),
            accounts: None,
            was_interrupted: false,
            ended: None,
        };
        assert_eq!(
            series.verdict(&limits()),
            "100 calls at a time within the limits; at 150: 7 packets lost"
        );
        series.steps.truncate(1);
        assert_eq!(series.verdict(&limits()), "100 calls at a time within the limits; more was not tried");
        series.was_interrupted = true;
        assert!(series.verdict(&limits()).ends_with("interrupted before a limit was found"));
    }

    /// Every field of the document stands in the table of docs/benchmarks.md, and nothing else does.
    #[test]
    fn the_document_is_as_it_is_described() {
        let about = About {
            at: WallTime::from_millis(0),
            version: "1".into(),
            target: "127.0.0.1:5060".into(),
            machine: "m".into(),
            load_before: 0.0,
            disk: None,
            cores: None,
            kind: "k".into(),
            limits: limits(),
            settings: Vec::new(),
        };
        let series = Series {
            what: What::Calls,
            steps: vec![step_of(100, 0)],
            most: Some(100),
            accounts: Some((1_000, Some(1_000))),
            was_interrupted: false,
            ended: None,
        };
        let document = to_json(&about, &[series]);
        let docs = include_str!("../../../../docs/benchmarks.md");
        let named = |line: &'static str| {
            let cell = line.strip_prefix("| ").and_then(|l| l.split(" | ").next()).unwrap_or_default();
            cell.split('`').skip(1).step_by(2).collect::<Vec<_>>()
        };
        let described: Vec<&str> = docs.lines().flat_map(named).collect();
        let mut found: Vec<String> = Vec::new();
        for (key, value) in document.as_object().unwrap() {
            match key.as_str() {
                "calls" => {
                    let of = |v: &Value, prefix: &str| {
                        v.as_object().unwrap().keys().map(|k| format!("{prefix}{k}")).collect::<Vec<_>>()
                    };
                    found.extend(of(value, "calls."));
                    found.extend(of(&value["steps"][0], "steps."));
                }
                key => found.push(key.to_owned()),
            }
        }
        for field in &found {
            assert!(described.contains(&field.as_str()), "docs/benchmarks.md says nothing of `{field}`");
        }
        for name in described.iter().filter(|n| n.starts_with("steps.") || n.starts_with("calls.")) {
            assert!(found.iter().any(|f| f == name), "there is no field `{name}`");
        }
    }
}
