//! Tags, key-values, segments, health: the smaller resources.

use axum::http::Method;
use model::SegmentId;

use crate::fixture::{self, Server, TOKEN, call_id};

fn of(call: u64, rest: &str) -> String {
    format!("/api/v1/calls/{}/{rest}", call_id(call))
}

#[tokio::test]
async fn tags_are_given_and_taken_and_nothing_twice() {
    let server = Server::with_calls(1).await;
    for (method, tag, changed, tags) in [
        (Method::PUT, "vip", true, vec!["vip"]),
        (Method::PUT, "vip", false, vec!["vip"]),
        (Method::PUT, "R%C3%BCckruf%20n%C3%B6tig", true, vec!["Rückruf nötig", "vip"]),
        (Method::DELETE, "vip", true, vec!["Rückruf nötig"]),
        (Method::DELETE, "vip", false, vec!["Rückruf nötig"]),
    ] {
        let answer = server.put(method.clone(), &of(0, &format!("tags/{tag}")), "", "").await;
        let json = answer.json();
        let found: Vec<&str> =
            json["tags"].as_array().unwrap().iter().map(|t| t["tag"].as_str().unwrap()).collect();
        assert_eq!(
            (answer.status.as_u16(), &json["changed"], found),
            (200, &changed.into(), tags),
            "{method} {tag}"
        );
    }
    let read = server.get(&of(0, "tags")).await.json();
    assert_eq!((&read["tags"][0]["by"], &read["changed"]), (&"api".into(), &false.into()));
}

#[tokio::test]
async fn key_values_are_put_and_taken() {
    let server = Server::with_calls(1).await;
    let path = of(0, "metadata/ticket");
    for (body, changed, value) in [
        (r#"{"value":"T-1"}"#, true, "T-1"),
        (r#"{"value":"T-1"}"#, false, "T-1"),
        (r#"{"value":"T-2"}"#, true, "T-2"),
    ] {
        let json = server.put(Method::PUT, &path, "application/json", body).await.json();
        assert_eq!(
            (&json["changed"], &json["metadata"]["ticket"]["value"]),
            (&changed.into(), &value.into())
        );
    }
    assert_eq!(server.get(&of(0, "metadata")).await.json()["metadata"]["ticket"]["by"], "api");
    let gone = server.put(Method::DELETE, &path, "", "").await.json();
    assert_eq!((&gone["changed"], &gone["metadata"]), (&true.into(), &serde_json::json!({})));
}

#[tokio::test]
async fn sides_are_corrected_and_the_history_stays() {
    let server = Server::with_calls(1).await;
    let path = of(0, "sides");
    let stream = model::StreamId::from_u64(7);
    for (body, changed, swapped, side) in [
        (r#"{"swapped":true}"#.to_owned(), true, true, "external"),
        (r#"{"swapped":true}"#.to_owned(), false, true, "external"),
        (format!(r#"{{"streams":{{"{stream}":"mixed"}}}}"#), true, false, "mixed"),
        ("{}".to_owned(), true, false, "agent"),
    ] {
        let json = server.put(Method::PUT, &path, "application/json", &body).await.json();
        assert_eq!(
            (&json["changed"], &json["swapped"], &json["streams"][0]["side"]),
            (&changed.into(), &swapped.into(), &side.into()),
            "{body}"
        );
        assert_eq!(json["streams"][0]["recorded"], "agent");
    }
    let read = server.get(&path).await.json();
    let history = read["history"].as_array().unwrap();
    assert_eq!((history.len(), &history[2]["by"]), (3, &"api".into()));
    assert_eq!(history[2]["from"]["streams"][stream.to_string()], "mixed");
    for (body, status, at) in [
        (r#"{"streams":{"0000000000009":"agent"}}"#, 404, "/streams/0000000000009"),
        (r#"{"swaped":true}"#, 422, ""),
        (r#"{"streams":{"x":"agent"}}"#, 422, ""),
    ] {
        let answer = server.put(Method::PUT, &path, "application/json", body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["at"]), (status, &at.into()), "{body}");
    }
    let other = server.put(Method::PUT, &of(9, "sides"), "application/json", "{}").await;
    assert_eq!(other.status.as_u16(), 404);
}

#[tokio::test]
async fn a_call_that_turned_out_to_be_another_leads_to_it() {
    let server = Server::with_calls(3).await;
    server.join(1, 2).await;
    let list = server.get("/api/v1/calls").await.json();
    assert_eq!(list["calls"].as_array().unwrap().len(), 2);
    let path = format!("/api/v1/calls/{}", call_id(2));
    let answer = server.get(&path).await;
    let json = answer.json();
    let surviving = call_id(1).to_string();
    assert_eq!((json["id"].as_str(), json["segments"].as_u64()), (Some(surviving.as_str()), Some(2)));
    assert_eq!(answer.header("content-location"), format!("/api/v1/calls/{surviving}"));
    assert_eq!(json["joined"][0]["call"], call_id(2).to_string());
    assert_eq!(json["joined"][0]["why"], "Session-ID");
    let segments = json["segment_list"].clone();
    assert_eq!((&segments[0]["recorded_as"], &segments[1]["number"]), (&serde_json::Value::Null, &2.into()));
    assert_eq!(segments[1]["recorded_as"], call_id(2).to_string());
    let own = server.get(&format!("/api/v1/calls/{surviving}")).await;
    assert_eq!((own.header("content-location"), own.json()), ("", json));
    // Neither is live: an order finds the survivor, and says so.
    let order = server.put(Method::POST, &format!("{path}/pause"), "", "").await;
    assert_eq!((order.status.as_u16(), &order.json()["type"]), (409, &"/problems/not-live".into()));
    for rest in ["segments", "copies", "spans"] {
        assert_eq!(server.get(&format!("{path}/{rest}")).await.status.as_u16(), 200, "{rest}");
    }
}

#[tokio::test]
async fn notes_that_cannot_be_made_say_why() {
    let server = Server::with_calls(1).await;
    let long = format!(r#"{{"value":"{}"}}"#, "x".repeat(1_001));
    for (call, what, body, status, kind) in [
        (7, "tags/vip", "", 404, "no-such-call"),
        (fixture::FULL, "tags/vip", "", 409, "limit-reached"),
        (fixture::OFF, "tags/vip", "", 503, "recording-away"),
        (0, "tags/a%2Fb", "", 400, "bad-request"),
        (0, "tags/%E2%80%AEx", "", 400, "bad-request"),
        (0, "metadata/Ticket", r#"{"value":"x"}"#, 400, "bad-request"),
        (0, "metadata/ticket", r#"{"value":""}"#, 422, "unfit"),
        (0, "metadata/ticket", r#"{"value":7}"#, 422, "unfit"),
        (0, "metadata/ticket", r#"{"valu":"x"}"#, 422, "unfit"),
        (0, "metadata/ticket", &long, 422, "unfit"),
        (0, "metadata/ticket", "", 415, "unsupported-type"),
    ] {
        let content_type = if body.is_empty() { "" } else { "application/json" };
        let answer = server.put(Method::PUT, &of(call, what), content_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{what} {body:.30}: {}", answer.text());
        assert_eq!(answer.json()["type"], format!("/problems/{kind}"), "{what} {body:.30}");
    }
}

#[tokio::test]
async fn segments_streams_copies_and_metadata_have_paths_of_their_own() {
    let server = Server::with_calls(1).await;
    let id = SegmentId::from_u64(call_id(0).as_u64() + 16);
    let list = server.get(&of(0, "segments")).await.json();
    assert_eq!(list["segments"][0]["id"], id.to_string());
    let one = server.get(&of(0, &format!("segments/{id}"))).await.json();
    assert_eq!(one, list["segments"][0]);
    let streams = server.get(&of(0, &format!("segments/{id}/streams"))).await.json();
    assert_eq!(streams["streams"], one["streams"]);
    let siprec = server.get(&of(0, &format!("segments/{id}/siprec"))).await.json();
    assert_eq!(siprec["bodies"][0]["content_type"], "application/rs-metadata+xml");
    let copies = server.get(&of(0, "copies")).await.json();
    assert_eq!(copies["segments"][0]["copies"][0]["place"], "node 0");
    let none = server.get(&of(0, &format!("segments/{}", call_id(9)))).await;
    assert_eq!((none.status.as_u16(), &none.json()["type"]), (404, &"/problems/no-such-segment".into()));
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let server = Server::with_calls(0).await;
    let answer = server.ask(Method::GET, "/readyz", &[]).await;
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(answer.json()["unready"][0]["what"], "draining");
    std::fs::remove_file(server.catalog_path()).unwrap();
    // What recording does not depend on is told beside.
    let away = server.ask(Method::GET, "/readyz", &[]).await.json();
    assert_eq!(
        (&away["degraded"][0]["what"], away["unready"].as_array().unwrap().len()),
        (&"catalog".into(), 1)
    );
}

#[tokio::test]
async fn who_accepts_no_json_is_told() {
    let server = Server::with_calls(0).await;
    let bearer = format!("Bearer {TOKEN}");
    for (path, accept, status) in [
        ("/api/v1/calls", "text/csv", 406),
        ("/api/v1/calls", "application/*", 200),
        ("/api/v1/events", "application/json", 406),
    ] {
        let answer = server.ask(Method::GET, path, &[("authorization", &bearer), ("accept", accept)]).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {accept}: {}", answer.text());
    }
}
