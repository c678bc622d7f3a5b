//! Where a call is played from: what is fetched, what is missing and why.

use crate::fixture::{AWAY, Server, call_id};

#[tokio::test]
async fn what_is_played_from_elsewhere_and_what_is_missing_is_told() {
    let server = Server::with_calls(1).await;
    let places = server.get(&format!("/api/v1/calls/{}/places", call_id(0))).await;
    let segment = places.json()["segments"][0]["id"].clone();
    let expected = serde_json::json!({
        "segments": [{"id": segment, "number": 1, "node": 3, "name": "rec3"}],
        "missing": [{
            "number": 2, "id": null, "text": "segment 2 is at rec2: connection refused",
            "since": "2026-11-20T09:15:00.000000Z",
        }],
    });
    assert_eq!((places.status.as_u16(), places.json()), (200, expected));
    // What is drawn over its picture is of the segments that are played.
    let spans = server.get(&format!("/api/v1/calls/{}/spans", call_id(0))).await;
    assert_eq!(spans.json()["segments"][0]["id"], segment);
    for (call, status, kind) in [(7, 404, "no-such-call"), (AWAY, 503, "recording-away")] {
        let answer = server.get(&format!("/api/v1/calls/{}/places", call_id(call))).await;
        let told = (answer.status.as_u16(), answer.json()["type"].clone());
        assert_eq!(told, (status, format!("/problems/{kind}").into()), "{call}");
    }
}
