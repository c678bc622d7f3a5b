//! Shows settings: the effective file for `check-config`, and the reference that `docs/configuration.md` has.

use std::fmt::Write as _;

use super::Loaded;
use super::declare::{Key, Section};
use super::sections::SECTIONS;
use super::source::{Origin, env_name};

/// The effective configuration as a file of its own: valid TOML, every key with its meaning, and where it was
/// set when it is not a default.
#[must_use]
pub(crate) fn effective_toml(loaded: &Loaded) -> String {
    let source =
        loaded.file.as_ref().map_or_else(|| "the embedded default".to_owned(), |f| f.display().to_string());
    let mut out = format!("# callspool: the configuration in effect, from {source}\n");
    for section in SECTIONS {
        let _ = write!(out, "\n#{}\n[{}]\n", section.doc, section.name);
        for key in section.keys {
            let value = (key.effective)(&loaded.config);
            let origin = loaded.origins.get(&(section.name, key.name)).unwrap_or(&Origin::Default);
            let set = match origin {
                Origin::Default => String::new(),
                set => format!("  # {set}"),
            };
            let _ = write!(out, "#{} ({})\n{} = {value}{set}\n", key.doc, key.unit, key.name);
        }
    }
    out
}

/// The effective values alone, for scripts: section, key, value as TOML, and where it was set.
#[must_use]
pub(crate) fn effective_json(loaded: &Loaded) -> serde_json::Value {
    let mut sections = serde_json::Map::new();
    for section in SECTIONS {
        let mut keys = serde_json::Map::new();
        for key in section.keys {
            let toml = (key.effective)(&loaded.config);
            let value: Option<toml::Value> = toml.parse().ok();
            let origin = loaded.origins.get(&(section.name, key.name)).unwrap_or(&Origin::Default);
            let entry = serde_json::json!({ "value": value, "from": origin.to_string() });
            keys.insert(key.name.to_owned(), entry);
        }
        sections.insert(section.name.to_owned(), keys.into());
    }
    sections.into()
}

/// The reference in Markdown: a table for each section.
#[must_use]
pub(crate) fn reference_markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let _ = write!(out, "### `[{}]`\n\n{}\n\n", section.name, section.doc.trim());
        out.push_str("| key | default | unit | meaning |\n| --- | --- | --- | --- |\n");
        for key in section.keys {
            out.push_str(&row(key));
        }
        let _ = write!(out, "\nEnvironment: `{}` and so on.\n\n", first_variable(section));
    }
    out
}

fn row(key: &Key) -> String {
    format!(
        "| `{}` | `{}` | {} | {} |\n",
        key.name,
        (key.default)(),
        key.unit,
        key.doc.trim().replace('|', "\\|")
    )
}

fn first_variable(section: &Section) -> String {
    section.keys.first().map(|k| env_name(section.name, k.name)).unwrap_or_default()
}
