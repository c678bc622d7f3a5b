//! Orders to live calls, over a record server that is made up.

use axum::http::Method;

use crate::fixture::{self, Server, TOKEN, call_id};

async fn order(server: &Server, call: u64, order: &str, body: &str) -> fixture::Answer {
    let content_type = if body.is_empty() { "" } else { "application/json" };
    let path = format!("/api/v1/calls/{}/{order}", call_id(call));
    server.put(Method::POST, &path, content_type, body).await
}

#[tokio::test]
async fn calls_are_joined_by_a_person_or_it_is_said_why_not() {
    let server = Server::with_calls(1).await;
    let path = |other: u64| format!("/api/v1/calls/{}/joined/{}", call_id(0), call_id(other));
    let joined = server.put(Method::PUT, &path(fixture::LIVE), "", "").await;
    assert_eq!(joined.status, 200);
    assert_eq!(joined.json(), serde_json::json!({ "call": call_id(0).to_string(), "changed": true }));
    for (other, status, kind) in [
        (0, 400, "bad-request"),
        (7, 404, "no-such-call"),
        (fixture::UNWILLING, 409, "not-allowed"),
        (fixture::OFF, 503, "recording-away"),
        (fixture::FAR, 503, "node-unreachable"),
        (fixture::SILENT, 504, "order-timed-out"),
    ] {
        let answer = server.put(Method::PUT, &path(other), "", "").await;
        let told = (answer.status.as_u16(), answer.json()["type"].clone());
        assert_eq!(told, (status, format!("/problems/{kind}").into()), "{other}");
    }
}

#[tokio::test]
async fn a_call_is_gathered_when_somebody_wants_it_and_its_details_say_what_is_missing() {
    let server = Server::with_calls(2).await;
    let gathered = order(&server, fixture::LIVE, "gather", "").await;
    assert_eq!(gathered.status, 202);
    let expected = serde_json::json!({
        "stage": "waiting", "text": "it waits for what is missing", "by": null, "failures": 0, "trouble": null,
        "missing": [{"what": "segment 1 is at node 1, away", "since": "2026-11-20T09:15:00.000000Z"}],
    });
    assert_eq!(gathered.json(), expected);
    server.add_call(fixture::LIVE, "Ann").await;
    for (call, stands) in [(fixture::LIVE, expected), (0, serde_json::Value::Null)] {
        let detail = server.get(&format!("/api/v1/calls/{}", call_id(call))).await;
        assert_eq!(detail.json()["gathering"], stands, "{call}");
    }
    for (call, status, kind) in [
        (7, 404, "no-such-call"),
        (fixture::OFF, 409, "not-allowed"),
        (fixture::FAR, 503, "node-unreachable"),
    ] {
        let answer = order(&server, call, "gather", "").await;
        let told = (answer.status.as_u16(), answer.json()["type"].clone());
        assert_eq!(told, (status, format!("/problems/{kind}").into()), "{call}");
    }
}

#[tokio::test]
async fn orders_are_answered_by_how_the_call_stands() {
    let server = Server::with_calls(0).await;
    for (name, body, recording, since, until, changed) in [
        ("start", "", "on", None, None, true),
        ("stop", "", "off", None, None, true),
        ("pause", "", "paused", Some("2026-11-20T09:15:00.000000Z"), None, true),
        ("pause", "null", "paused", Some("2026-11-20T09:15:00.000000Z"), None, true),
        ("pause", "{}", "paused", Some("2026-11-20T09:15:00.000000Z"), None, true),
        (
            "pause",
            r#"{"timeout_s":90.0}"#,
            "paused",
            Some("2026-11-20T09:15:00.000000Z"),
            Some("2026-11-20T09:16:30.000000Z"),
            true,
        ),
        ("resume", "", "on", None, None, false),
    ] {
        let answer = order(&server, fixture::LIVE, name, body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let expected = serde_json::json!({
            "call": call_id(fixture::LIVE), "recording": recording, "paused_since": since, "resumes_at": until,
            "changed": changed,
        });
        assert_eq!(answer.json(), expected, "{name} {body}");
    }
}

#[tokio::test]
async fn an_order_that_is_not_carried_out_says_why() {
    let server = Server::with_calls(1).await;
    for (call, status, kind, told) in [
        (7, 404, "no-such-call", "does not exist"),
        (0, 409, "not-live", "is over"),
        (fixture::UNWILLING, 409, "not-allowed", "on hold"),
        (fixture::FAR, 503, "node-unreachable", "node 3 is off"),
        (fixture::SILENT, 504, "order-timed-out", "did not answer"),
    ] {
        let answer = order(&server, call, "stop", "").await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let json = answer.json();
        assert_eq!(json["type"], format!("/problems/{kind}"));
        assert_eq!(json["status"], status);
        assert!(json["detail"].as_str().unwrap().contains(told), "{json}");
    }
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_refused_where_it_is_wrong() {
    let server = Server::with_calls(0).await;
    let path = format!("/api/v1/calls/{}/pause", call_id(fixture::LIVE));
    let long = " ".repeat(70_000);
    for (content_type, body, status, kind, at) in [
        ("application/json", r#"{"timeout_s":0}"#, 422, "unfit", "/timeout_s"),
        ("application/json", r#"{"timeout_s":1.5}"#, 422, "unfit", "/timeout_s"),
        ("application/json", r#"{"timeout_s":86401}"#, 422, "unfit", "/timeout_s"),
        ("application/json", r#"{"timeout_s":"soon"}"#, 422, "unfit", ""),
        ("application/json", r#"{"timeout":1}"#, 422, "unfit", ""),
        ("application/json", "{", 400, "bad-request", ""),
        ("text/plain", "{}", 415, "unsupported-type", ""),
        ("", "{}", 415, "unsupported-type", "Content-Type"),
        ("application/json", &long, 413, "too-long", ""),
        ("", &long, 413, "too-long", ""),
    ] {
        let answer = server.put(Method::POST, &path, content_type, body).await;
        let json = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{content_type} {body:.40}: {json}");
        assert_eq!((&json["type"], &json["at"]), (&format!("/problems/{kind}").into(), &at.into()), "{json}");
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_order_anything() {
    let server = Server::with_calls(0).await;
    let path = format!("/api/v1/calls/{}/stop", call_id(fixture::LIVE));
    let cookie = format!("callspool_token={TOKEN}");
    for (origin, status) in [
        ("http://127.0.0.1:8080", 200),
        ("http://127.0.0.1:9999", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        let headers = [("cookie", cookie.as_str()), ("origin", origin)];
        let answer = server.ask(Method::POST, &path, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{origin}: {}", answer.text());
    }
    assert_eq!(server.ask(Method::POST, &path, &[]).await.status.as_u16(), 401);
    assert_eq!(server.get(&path).await.status.as_u16(), 405);
}
