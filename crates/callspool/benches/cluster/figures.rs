//! How figures are told: a line for people, a line of JSON for whoever compares.

use std::io::Write as _;

use serde_json::{Map, Value, json};

/// Where they go.
pub(crate) struct Figures {
    out: Option<String>,
}

/// Of many values of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) median: f64,
    pub(crate) worst: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = values.into_iter().collect();
        all.sort_by(f64::total_cmp);
        Self {
            count: all.len(),
            median: all.get(all.len() / 2).copied().unwrap_or(f64::NAN),
            worst: all.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl Figures {
    pub(crate) const fn new(out: Option<String>) -> Self {
        Self { out }
    }

    /// Tells what was measured by a part, in words and as values with names.
    pub(crate) fn tell(&self, part: &str, words: &str, values: Value) {
        println!("{part}: {words}");
        let Some(path) = &self.out else { return };
        let mut line = Map::from_iter([("bench".to_owned(), json!(part))]);
        if let Value::Object(values) = values {
            line.extend(values);
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{}", Value::Object(line)).unwrap();
    }
}
