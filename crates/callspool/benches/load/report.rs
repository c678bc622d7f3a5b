//! The figures, as a table for people and as JSON lines for machines.

use std::fs::{File, OpenOptions};
use std::io::Write;

use serde_json::{Value, json};

use crate::exports::{self, Exports, Listened};
use crate::invites::Invites;
use crate::options::Options;
use crate::packets::Packets;
use crate::pressure::{Answers, Pressed};
use crate::signalling::Signalled;
use crate::{Failure, machine};

/// Says what is found as soon as it is found.
pub(crate) struct Report {
    out: Option<File>,
    about: Value,
    signalled: bool,
    invites: bool,
    steps: bool,
    packets: bool,
}

impl Report {
    pub(crate) fn begin(options: &Options) -> Result<Self, Failure> {
        let out = match &options.out {
            Some(path) => Some(OpenOptions::new().create(true).append(true).open(path)?),
            None => None,
        };
        let date = today();
        let (machine, commit, load) = (machine::describe(), machine::commit(), machine::load());
        println!("date     {date}");
        println!("commit   {commit}");
        println!("machine  {machine}; load before the run {load}");
        println!(
            "method   INVITE: callspool on all cores; packets: on core {}, generator on core {}, {} turns of {} s, medians",
            machine::RECEIVER_CORE,
            machine::SENDER_CORE,
            options.repeats,
            options.turn.as_secs(),
        );
        for (key, value) in &options.set {
            println!("setting  {key} = {value}");
        }
        let set: Vec<String> = options.set.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let about = json!({ "date": date, "commit": commit, "machine": machine, "load": load, "set": set });
        Ok(Self { out, about, signalled: false, invites: false, steps: false, packets: false })
    }

    pub(crate) fn invites(&mut self, found: &Invites) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.invites, true) {
            println!();
            println!(
                "INVITE → 200     reached    median       p99     worst     failed  sent again   CPU for a call"
            );
        }
        let Invites { rate, reached, calls, failed, resent, setup_ms, cpu_us, threads_us } = found;
        let [median, p99, worst] = setup_ms;
        println!(
            "{rate:>6} calls/s {reached:>9.0}/s {median:>6.2} ms {p99:>6.2} ms {worst:>6.1} ms {failed:>5} of \
             {calls:<6} {resent:>4} {cpu_us:>9.0} µs"
        );
        let threads: Vec<String> = threads_us.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
        println!("               threads, µs for a call: {}", threads.join(", "));
        self.line(
            "invites",
            json!({
                "rate": rate, "reached": reached, "calls": calls, "failed": failed, "resent": resent,
                "median_ms": median, "p99_ms": p99, "worst_ms": worst, "cpu_us": cpu_us, "threads_us": by_name(threads_us),
            }),
        )
    }

    pub(crate) fn packets(&mut self, found: &Packets) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.packets, true) {
            println!();
            println!(
                "packets       source   asked/s   sent/s   callspool    bare   ratio  difference   lost: kernel  disk"
            );
        }
        let p = found;
        let lost = i128::from(p.sent) - i128::from(p.recorded.received);
        println!(
            "{:>5} calls {:>11} {:>7.0} {:>8.0} {:>8.2} µs {:>5.2} µs {:>6.2} {:>8.2} µs {lost:>6} {:>7} {:>5}",
            p.calls,
            p.source,
            p.wanted,
            p.reached,
            p.recorder_us,
            p.bare_us,
            p.ratio,
            p.difference_us,
            p.kernel_drops,
            p.recorded.dropped,
        );
        if let Some(by) = &p.protected {
            println!(
                "            protected by {}: {:.3} times the clear one, {:.2} µs more",
                by.suite, by.ratio, by.difference_us
            );
        }
        let threads: Vec<String> = p.threads_us.iter().map(|(name, us)| format!("{name} {us:.2}")).collect();
        println!("            threads, µs for each packet: {}", threads.join(", "));
        println!(
            "            {} packets sent, {} in {} manifests, missing in them {}, odd {}; the bare receiver lost {}",
            p.sent, p.recorded.received, p.recorded.segments, p.recorded.lost, p.recorded.odd, p.bare_lost,
        );
        println!(
            "            memory for each call: {:.1} KiB before media, {:.1} KiB with media (PSS), {:.1} KiB (RSS)",
            p.idle_kib, p.busy_kib, p.busy_rss_kib,
        );
        let protected = p
            .protected
            .as_ref()
            .map(|by| json!({ "suite": by.suite, "times_clear": by.ratio, "more_us": by.difference_us }));
        self.line(
            "packets",
            json!({
                "calls": p.calls, "source": p.source.name(), "protected": protected, "wanted": p.wanted, "reached": p.reached, "recorder_us": p.recorder_us,
                "bare_us": p.bare_us, "ratio": p.ratio, "difference_us": p.difference_us,
                "threads_us": by_name(&p.threads_us), "sent": p.sent, "received": p.recorded.received, "lost": lost,
                "missing": p.recorded.lost, "dropped": p.recorded.dropped, "odd": p.recorded.odd,
                "kernel_drops": p.kernel_drops, "bare_lost": p.bare_lost, "idle_kib": p.idle_kib,
                "busy_kib": p.busy_kib, "busy_rss_kib": p.busy_rss_kib,
            }),
        )
    }

    pub(crate) fn signalled(&mut self, found: &Signalled) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.signalled, true) {
            println!();
            println!(
                "SIP alone        reached    median       p99     worst     failed  sent again   CPU for a call"
            );
        }
        let Signalled { rate, reached, calls, failed, resent, cpu_us, setup_ms } = found;
        let [median, p99, worst] = setup_ms;
        // Those that fail cost something else.
        let capacity = match failed {
            0 => format!(": {:.0} calls a second and core", 1e6 / cpu_us),
            _ => String::new(),
        };
        println!(
            "{rate:>6} calls/s {reached:>9.0}/s {median:>6.2} ms {p99:>6.2} ms {worst:>6.1} ms {failed:>5} of \
             {calls:<6} {resent:>4} {cpu_us:>9.0} µs{capacity}"
        );
        self.line(
            "signalling",
            json!({
                "rate": rate, "reached": reached, "calls": calls, "failed": failed, "resent": resent,
                "median_ms": median, "p99_ms": p99, "worst_ms": worst, "cpu_us": cpu_us,
            }),
        )
    }

    /// A step in the search for what is sustained.
    pub(crate) fn step(
        &mut self,
        rate: u32,
        reached: f64,
        new: &Answers,
        holds: bool,
    ) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.steps, true) {
            println!();
            println!("what is sustained beside running calls:");
        }
        let word = if holds { "holds" } else { "does not hold" };
        println!("{rate:>6} calls/s {reached:>9.0}/s {word}: {}", answers(new));
        self.line(
            "step",
            json!({ "rate": rate, "reached": reached, "holds": holds, "setup_ms": new.setup_ms }),
        )
    }

    pub(crate) fn pressed(&mut self, found: &Pressed) -> Result<(), Failure> {
        let Pressed { of, running, descriptors, new, after, sent, lost, left_out, .. } = found;
        let Pressed { delay_p99_ms, alone_p99_ms, answered_per_s, catalog_per_s, catalog_rest_s, .. } = found;
        println!();
        println!(
            "{}: {} new calls a second for {} s beside {running} running ones",
            of.name, of.rate, of.seconds
        );
        println!("            new calls: {}; then {descriptors} descriptors", answers(new));
        if let Some(after) = after {
            println!("            right after it, at an easy rate: {}", answers(after));
        }
        println!(
            "            running calls: {lost} of {sent} packets lost ({left_out} not sent in time); kernel to buffer p99 {:.1} ms, before without new calls {:.1} ms",
            delay_p99_ms.unwrap_or(f64::NAN),
            alone_p99_ms.unwrap_or(f64::NAN),
        );
        println!(
            "            catalog: {answered_per_s:.0} calls and {catalog_per_s:.0} changes a second, {catalog_rest_s:.1} s for the rest"
        );
        let of_answers = |a: &Answers| {
            json!({
                "calls": a.calls, "failed": a.failed, "refusals": a.refusals, "setup_ms": a.setup_ms,
                "refusal_ms": a.refusal_ms,
            })
        };
        self.line(
            "pressure",
            json!({
                "name": of.name, "rate": of.rate, "seconds": of.seconds, "running": running, "descriptors": descriptors, "new": of_answers(new),
                "after": after.as_ref().map(of_answers), "sent": sent, "lost": lost, "left_out": left_out,
                "delay_p99_ms": delay_p99_ms, "alone_p99_ms": alone_p99_ms, "answered_per_s": answered_per_s, "catalog_per_s": catalog_per_s, "catalog_rest_s": catalog_rest_s,
            }),
        )
    }

    pub(crate) fn exports(&mut self, found: &Exports) -> Result<(), Failure> {
        let long = exports::HOUR.as_secs_f64();
        println!();
        println!("exports of an hour, two sides of G.711     octets   CPU     × real time   took");
        for e in &found.formats {
            println!(
                "{:<38} {:>10} {:>6.2} s {:>8.0} × {:>8.2} s",
                e.format,
                e.bytes,
                e.cpu_s,
                long / e.cpu_s,
                e.took_s
            );
        }
        let formats: Vec<Value> = found
            .formats
            .iter()
            .map(|e| json!({ "format": e.format, "bytes": e.bytes, "cpu_s": e.cpu_s, "took_s": e.took_s }))
            .collect();
        self.line("exports", json!({ "formats": formats }))?;
        self.listened(&found.listened)
    }

    pub(crate) fn listened(&mut self, found: &Listened) -> Result<(), Failure> {
        let Listened { length, cores, peaks_ms, first_ms } = found;
        let ([peaks, again], [first, late]) = (*peaks_ms, *first_ms);
        let hours = length.as_secs() / 3_600;
        println!();
        println!(
            "a call of {hours} h from a server with {cores} processors: peaks {peaks:.0} ms, again {again:.0} ms; \
             first audio {first:.1} ms, of the last minute {late:.1} ms"
        );
        self.line(
            "listened",
            json!({ "hours": hours, "processors": cores, "peaks_ms": peaks_ms, "first_ms": first_ms }),
        )
    }

    pub(crate) fn end(&self) {
        println!();
        println!("load after the run {}", machine::load());
    }

    fn line(&mut self, kind: &str, figures: Value) -> Result<(), Failure> {
        if let Some(out) = &mut self.out {
            writeln!(out, "{}", json!({ "kind": kind, "about": self.about, "figures": figures }))?;
        }
        Ok(())
    }
}

fn answers(of: &Answers) -> String {
    let [median, p99, worst] = of.setup_ms.unwrap_or([f64::NAN; 3]);
    let refusals: Vec<String> = of.refusals.iter().map(|(why, times)| format!("{why}: {times}")).collect();
    let refusals = if refusals.is_empty() { String::new() } else { format!(" ({})", refusals.join(", ")) };
    let after = of.refusal_ms.map_or_else(String::new, |[median, p99, worst]| {
        format!("; INVITE → refusal median {median:.1} ms, p99 {p99:.1} ms, worst {worst:.1} ms")
    });
    let answered = of.calls - of.failed;
    format!(
        "{answered} of {} answered{refusals}; INVITE → 200 median {median:.1} ms, p99 {p99:.1} ms, worst {worst:.1} ms{after}",
        of.calls
    )
}

fn by_name(threads: &[(String, f64)]) -> Value {
    Value::Object(threads.iter().map(|(name, us)| (name.clone(), json!(us))).collect())
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

/// The median, what 99 of 100 do not exceed, and the worst.
pub(crate) fn median_p99_worst(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
        values.get(index).copied().unwrap_or(f64::NAN)
    };
    [at(50), at(99), at(100)]
}

/// `2026-11-21T01:02:03Z`, by the system's `date`.
fn today() -> String {
    let output = std::process::Command::new("date").args(["--utc", "+%FT%TZ"]).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
