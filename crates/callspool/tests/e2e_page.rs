//! The page and the interface behind it, as a browser meets them: nothing without the token, all of it with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use support::audio;
use support::calls::place;
use support::http::{self, Response};
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;

struct Page {
    server: Server,
    token: String,
}

impl Page {
    fn open() -> Self {
        let server = Server::start();
        let path = server.state().join("token");
        let token = std::fs::read_to_string(&path).expect("a token, made at first start").trim().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!server.log().contains(&token), "the token is in the log");
        Self { server, token }
    }

    fn get(&self, path: &str) -> Response {
        let bearer = format!("Bearer {}", self.token);
        self.get_with(path, &[("Authorization", &bearer)])
    }

    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        http::get(&self.server.http_address(), path, headers).unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }
}

#[test]
fn nothing_is_told_without_the_token() {
    let page = Page::open();
    assert_eq!(page.get_with("/healthz", &[]).status, 200);
    // The page itself holds nothing; what it shows it asks for.
    assert_eq!(page.get_with("/", &[]).status, 200);
    for path in ["/api/v1/calls", "/api/v1/calls/06jv3kq4g2n00", "/api/v1/calls/06jv3kq4g2n00/audio.wav"] {
        assert_eq!(page.get_with(path, &[]).status, 401, "{path}");
        assert_eq!(page.get_with(path, &[("Authorization", "Bearer wrong")]).status, 401, "{path}");
        assert_eq!(page.get_with(path, &[("Cookie", "callspool=wrong")]).status, 401, "{path}");
    }
    assert_eq!(page.get_with("/?token=wrong", &[]).status, 401);
    let problem = page.get_with("/api/v1/calls", &[]);
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    // Another site's name that leads to this address (DNS rebinding).
    let bearer = format!("Bearer {}", page.token);
    let other = http::get_as(
        "evil.invalid",
        &page.server.http_address(),
        "/api/v1/calls",
        &[("Authorization", &bearer)],
    );
    let status = other.expect("an answer").status;
    assert!((400..500).contains(&status), "asked as evil.invalid: {status}");
}

#[test]
fn the_token_in_the_address_becomes_a_cookie() {
    let page = Page::open();
    let entered = page.get_with(&format!("/?token={}", page.token), &[]);
    assert!((300..400).contains(&entered.status), "{}", entered.status);
    let location = entered.header("location").expect("a way on").to_owned();
    assert!(!location.contains(&page.token), "the token stays in the address: {location}");
    let cookie = entered.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let shown = page.get_with(&location, &[("Cookie", cookie)]);
    assert_eq!(shown.status, 200);
    assert!(shown.header("content-type").is_some_and(|t| t.starts_with("text/html")));
    let policy = shown.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("default-src 'none'") || policy.contains("default-src 'self'"), "{policy}");
    let html = shown.text();
    for outside in ["http://", "https://", "src=\"//"] {
        let found = html.match_indices(outside).map(|(i, _)| &html[i..html.len().min(i + 60)]);
        let found: Vec<_> = found.filter(|t| !t.contains("www.w3.org")).collect();
        assert!(found.is_empty(), "the page asks others: {found:?}");
    }
    assert_eq!(page.get_with("/api/v1/calls", &[("Cookie", cookie)]).status, 200);
}

#[test]
fn a_call_is_listed_described_and_played() {
    let page = Page::open();
    let packets = Talk::new(700.0, Duration::from_secs(2)).packets();
    let scenario = Scenario::new("call").key("caller", "+4930555123");
    let recorded = place(&page.server, scenario, &Mouth::open(), &packets, "complete").recorded;
    let id = recorded.id();

    let list = page.get("/api/v1/calls");
    assert_eq!(list.status, 200);
    let list: Value = serde_json::from_slice(&list.body).expect("JSON");
    let calls = list["calls"].as_array().or_else(|| list.as_array()).expect("a list of calls");
    assert_eq!(calls.len(), 1, "{list:#}");
    assert_eq!((calls[0]["id"].as_str(), calls[0]["live"].as_bool()), (Some(&*id), Some(false)), "{list:#}");
    assert!(
        list.to_string().contains("+4930555123") && list.to_string().contains("\"complete\""),
        "{list:#}"
    );

    let call = page.get(&format!("/api/v1/calls/{id}"));
    assert_eq!(call.status, 200);
    let call: Value = serde_json::from_slice(&call.body).expect("JSON");
    assert!(call.to_string().contains("\"packets\":100"), "{call:#}");
    assert_eq!(page.get("/api/v1/calls/06jv3kq4g2n00").status, 404);
    assert_eq!(page.get("/api/v1/calls/nonsense").status / 100, 4);

    expect_audio(&page, &id);
}

fn expect_audio(page: &Page, id: &str) {
    let path = format!("/api/v1/calls/{id}/audio.wav");
    let whole = page.get(&path);
    assert_eq!((whole.status, whole.header("content-type")), (200, Some("audio/wav")));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-length"), Some(&*whole.body.len().to_string()));
    let sound = audio::wav_bytes(&whole.body);
    sound[0].cut(0.2, 1.8).expect_tone("the page", 700.0, &[1_500.0]);
    let file = page.server.export(id, &[]);
    assert!(file[0].samples == sound[0].samples, "the page plays what export writes");

    let bearer = format!("Bearer {}", page.token);
    let total = whole.body.len();
    for (range, expected) in [
        ("bytes=0-99".to_owned(), 0..100),
        ("bytes=1001-20000".to_owned(), 1_001..20_001),
        (format!("bytes={}-", total - 10), total - 10..total),
        ("bytes=-100".to_owned(), total - 100..total),
        (format!("bytes=100-{}", total * 2), 100..total),
    ] {
        let part = page.get_with(&path, &[("Authorization", &bearer), ("Range", &range)]);
        assert_eq!(part.status, 206, "{range}");
        let says = format!("bytes {}-{}/{total}", expected.start, expected.end - 1);
        assert_eq!(part.header("content-range"), Some(&*says), "{range}");
        assert!(part.body == whole.body[expected], "{range}: other bytes");
    }
    let beyond = format!("bytes={total}-");
    let beyond = page.get_with(&path, &[("Authorization", &bearer), ("Range", &beyond)]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(&*format!("bytes */{total}"))));
}
