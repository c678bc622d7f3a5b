//! `/metrics`, read as `promtool check metrics` reads it.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;

use crate::fixture::Server;

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
}

/// What is wrong with a text of metrics, a line each.
fn lint(text: &str) -> Vec<String> {
    let (mut wrong, mut kinds, mut helps) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap_or((help, ""));
            if text.len() < 5 || !helps.insert(name.to_owned()) {
                wrong.push(format!("{name}: no help, or twice"));
            }
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, ""));
            if kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                wrong.push(format!("{name}: two types"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                wrong.push(format!("{name}: counters and only they end in _total"));
            }
        } else if !line.is_empty() {
            let (sample, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            let name = sample.split('{').next().unwrap_or_default();
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            let known = |name: &str| kinds.contains_key(name) && helps.contains(name);
            if !known(name) && !known(base) {
                wrong.push(format!("{line}: no HELP or TYPE before it"));
            }
            if !is_name(name) || !(name.starts_with("callspool_") || name.starts_with("process_")) {
                wrong.push(format!("{name}: not as names are"));
            }
            if value.parse::<f64>().is_err() || !series.insert(sample.to_owned()) {
                wrong.push(format!("{line}: no number, or twice"));
            }
        }
    }
    wrong
}

#[test]
fn the_lint_finds_what_is_wrong() {
    let good = "# HELP callspool_a_total Some help.\n# TYPE callspool_a_total counter\ncallspool_a_total{x=\"y\"} 1\n";
    assert_eq!(lint(good), Vec::<String>::new());
    for bad in [
        "callspool_a 1\n",
        "# HELP callspool_a Some help.\n# TYPE callspool_a counter\ncallspool_a 1\n",
        "# HELP callspool_a_total Some help.\n# TYPE callspool_a_total gauge\ncallspool_a_total 1\n",
        &format!("{good}callspool_a_total{{x=\"y\"}} 2\n"),
        "# HELP other Some help.\n# TYPE other gauge\nother 1\n",
        "# HELP callspool_a Some help.\n# TYPE callspool_a gauge\ncallspool_a x\n",
    ] {
        assert!(!lint(bad).is_empty(), "{bad}");
    }
}

#[tokio::test]
async fn metrics_are_as_prometheus_wants_them() {
    let server = Server::with_calls(1).await;
    server.get("/api/v1/calls").await;
    server.get("/api/v1/calls/nonsense").await;
    server.get("/nothing").await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    assert_eq!(lint(&text), Vec::<String>::new(), "{text}");
    for line in [
        "callspool_calls_begun_total 7",
        "callspool_volume_free_bytes{volume=\"repository\"} 1024",
        "callspool_http_request_duration_seconds_count{route=\"/api/v1/calls\",class=\"2xx\"} 1",
        "callspool_http_request_duration_seconds_count{route=\"/api/v1/calls/{id}\",class=\"4xx\"} 1",
        "callspool_http_request_duration_seconds_count{route=\"none\",class=\"4xx\"} 1",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "no {line}: {text}");
    }
}

#[tokio::test]
async fn metrics_want_the_token_unless_they_are_open() {
    let closed = Server::with_calls(0).await;
    assert_eq!(closed.ask(Method::GET, "/metrics", &[]).await.status.as_u16(), 401);
    let open = Server::with_open_metrics().await;
    assert_eq!(open.ask(Method::GET, "/metrics", &[]).await.status.as_u16(), 200);
    assert_eq!(open.ask(Method::GET, "/api/v1/calls", &[]).await.status.as_u16(), 401);
}
