//! Shows settings: the effective file for `check-config`, and the reference that `docs/configuration.md` has.

use std::fmt::Write as _;

use super::Loaded;
use super::declare::{Key, Section, TableKind};
use super::sections::SECTIONS;
use super::source::{Origin, env_name};
use super::tables::TABLES;

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
            push_key(&mut out, key, &value, loaded.origins.get(section.name, key.name));
        }
    }
    for kind in TABLES {
        for name in (kind.names)(&loaded.config.tables) {
            let _ = write!(out, "\n#{}\n[{}.{name}]\n", kind.doc, kind.name);
            for key in kind.keys {
                let value = (key.effective)(&loaded.config.tables, name).unwrap_or_default();
                push_key(&mut out, key, &value, loaded.origins.get_named(kind.name, name, key.name));
            }
        }
    }
    out
}

fn push_key<F>(out: &mut String, key: &Key<F>, value: &str, origin: &Origin) {
    let set = match origin {
        Origin::Default => String::new(),
        set => format!("  # {set}"),
    };
    let _ = write!(out, "#{} ({})\n{} = {value}{set}\n", key.doc, key.unit, key.name);
}

/// The effective values alone, for scripts: section, or kind and name of a table, key, value, and where it was
/// set.
#[must_use]
pub(crate) fn effective_json(loaded: &Loaded) -> serde_json::Value {
    let mut sections = serde_json::Map::new();
    for section in SECTIONS {
        let mut keys = serde_json::Map::new();
        for key in section.keys {
            let toml = (key.effective)(&loaded.config);
            keys.insert(key.name.to_owned(), entry(&toml, loaded.origins.get(section.name, key.name)));
        }
        sections.insert(section.name.to_owned(), keys.into());
    }
    for kind in TABLES {
        let mut tables = serde_json::Map::new();
        for name in (kind.names)(&loaded.config.tables) {
            let mut keys = serde_json::Map::new();
            for key in kind.keys {
                let toml = (key.effective)(&loaded.config.tables, name).unwrap_or_default();
                let origin = loaded.origins.get_named(kind.name, name, key.name);
                keys.insert(key.name.to_owned(), entry(&toml, origin));
            }
            tables.insert(name.to_owned(), keys.into());
        }
        sections.insert(kind.name.to_owned(), tables.into());
    }
    sections.into()
}

fn entry(toml: &str, origin: &Origin) -> serde_json::Value {
    let value: Option<toml::Value> = toml.parse().ok();
    serde_json::json!({ "value": value, "from": origin.to_string() })
}

/// The reference in Markdown: a table for each section.
#[must_use]
pub(crate) fn reference_markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let _ = write!(out, "### `[{}]`\n\n{}\n\n", section.name, section.doc.trim());
        push_rows(&mut out, section.keys);
        let _ = write!(out, "\nEnvironment: `{}` and so on.\n\n", first_variable(section));
    }
    for kind in TABLES {
        let _ = write!(out, "### `[{}.NAME]`\n\n{} At most {}.\n\n", kind.name, kind.doc.trim(), kind.max);
        push_rows(&mut out, kind.keys);
        let _ = write!(out, "\nEnvironment: `{}` and so on.\n\n", first_variable_named(kind));
    }
    out
}

fn push_rows<F>(out: &mut String, keys: &[Key<F>]) {
    out.push_str("| key | default | unit | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys {
        out.push_str(&row(key));
    }
}

fn row<F>(key: &Key<F>) -> String {
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

fn first_variable_named(kind: &TableKind) -> String {
    let key = kind.keys.first().map(|k| k.name).unwrap_or_default();
    env_name(&format!("{}__NAME", kind.name), key)
}
