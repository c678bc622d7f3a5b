//! Keys of streams, over a record server that is made up. No answer has anything of one.

use axum::http::Method;
use model::StreamId;

use crate::fixture::{self, KEY, Server, call_id};

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

fn path(call: u64, stream: u64) -> String {
    format!("/api/v1/calls/{}/streams/{}/keys", call_id(call), StreamId::from_u64(stream))
}

fn body(key: &str) -> String {
    format!(r#"{{"suite":"{SUITE}","key":"{key}","rollovers":3}}"#)
}

#[tokio::test]
async fn keys_are_given_and_not_repeated() {
    let server = Server::with_calls(0).await;
    let answer = server.put(Method::PUT, &path(fixture::LIVE, 7), "application/json", &body(KEY)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = serde_json::json!({
        "call": call_id(fixture::LIVE), "stream": StreamId::from_u64(7), "suite": SUITE, "changed": true,
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_key() {
    let server = Server::with_calls(1).await;
    let key = KEY.trim_start_matches("inline:");
    let (good, wrong) = (body(KEY), body(key));
    let other = good.replace(SUITE, "F8_128_HMAC_SHA1_80");
    let misplaced = format!(r#"{{"suite":"{SUITE}","key":"x","rollovers":"{key}"}}"#);
    let unknown = format!(r#"{{"suite":"{SUITE}","key":"x","{key}":1}}"#);
    let (long, longest) = (body(&"A".repeat(1_025)), body(&"A".repeat(70_000)));
    let json = "application/json";
    for (call, stream, content_type, body, status, kind, at) in [
        (fixture::LIVE, 8, json, &good, 404, "no-such-stream", None),
        (fixture::LIVE, 7, json, &wrong, 422, "unfit", Some("/key")),
        (fixture::LIVE, 7, json, &other, 422, "unfit", Some("/suite")),
        (fixture::LIVE, 7, json, &misplaced, 422, "unfit", Some("")),
        (fixture::LIVE, 7, json, &unknown, 422, "unfit", Some("")),
        (fixture::LIVE, 7, json, &format!("{{{key}"), 400, "bad-request", Some("")),
        (fixture::LIVE, 7, json, &long, 422, "unfit", Some("/key")),
        (fixture::LIVE, 7, json, &longest, 413, "too-long", Some("")),
        (fixture::LIVE, 7, "text/plain", &good, 415, "unsupported-type", Some("Content-Type")),
        (fixture::UNWILLING, 7, json, &good, 409, "not-allowed", None),
        (fixture::FAR, 7, json, &good, 503, "node-unreachable", None),
        (fixture::SILENT, 7, json, &good, 504, "order-timed-out", None),
        (0, 7, json, &good, 409, "not-live", None),
        (9, 7, json, &good, 404, "no-such-call", None),
    ] {
        let answer = server.put(Method::PUT, &path(call, stream), content_type, body).await;
        let text = answer.text();
        assert_eq!(answer.status.as_u16(), status, "{body:.90}: {text}");
        let json = answer.json();
        assert_eq!(json["type"], format!("/problems/{kind}"), "{body:.90}: {text}");
        assert_eq!(json["at"].as_str(), at, "{body:.90}: {text}");
        assert!(!text.contains(&key[..20]), "{text}");
    }
    let nothing = server.ask(Method::PUT, &path(fixture::LIVE, 7), &[]).await;
    assert_eq!(nothing.status.as_u16(), 401);
}
