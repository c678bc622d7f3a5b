//! The OpenAPI document: the same in the code, in `docs/`, and as served; and complete.

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::http::Method;
use serde_json::Value;

use crate::fixture::Server;

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = |(path, item): (&String, &Value)| {
        let path = path.clone();
        let item = item.as_object().unwrap().clone();
        item.into_iter()
            .map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    };
    paths.iter().flat_map(each).collect()
}

#[test]
fn the_document_is_the_one_in_docs() {
    let path = docs("openapi.json");
    let text = api::document();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/openapi.json is not as the code says; `./dev fmt` writes it anew");
}

#[tokio::test]
async fn it_is_served_without_a_token() {
    let server = Server::with_calls(0).await;
    let answer = server.ask(Method::GET, "/api/v1/openapi.json", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, api::document()));
}

#[test]
fn it_is_3_1_and_every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let text = api::document();
    for reference in text.split("\"$ref\": \"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} is nowhere");
    }
}

#[test]
fn every_operation_is_described_with_its_refusals() {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let mut names = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}");
        assert!(operation["summary"].as_str().is_some_and(|s| s.len() > 10), "{name} says nothing");
        for status in ["400", "406", "421", "500", "503"] {
            assert!(operation["responses"].get(status).is_some(), "{name} has no {status}");
        }
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            assert!(parameter["schema"].is_object(), "{name}: {parameter}");
        }
    }
    assert!(names.len() > 20, "{names:?}");
}

#[test]
fn the_page_on_the_interface_names_every_path_and_every_kind_of_error() {
    let text = std::fs::read_to_string(docs("api.md")).unwrap();
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    for (name, _) in operations(&document) {
        assert!(text.contains(&format!("`{name}`")), "docs/api.md does not name {name}");
    }
    for (slug, status) in api::problem_kinds() {
        assert!(
            text.contains(&format!("| `{slug}` | {status} |")),
            "docs/api.md lacks | `{slug}` | {status} |"
        );
    }
}
