//! Where values come from: one TOML file, then the environment over it.
//!
//! Everything that is set is matched against what is declared. What is not declared is refused, with the
//! nearest name that is, since a misspelled key that is silently ignored is a default that nobody wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::declare::{Setting, TableKind};
use super::sections::SECTIONS;
use super::tables::TABLES;

/// What the name of an environment variable begins with: `CALLSPOOL_SIP__UDP` is `sip.udp`.
pub(crate) const ENV_PREFIX: &str = "CALLSPOOL_";

/// Longest name of a table: it stands in directories, metrics and messages, as a tenant's does.
const TABLE_NAME_MAX: usize = 63;

/// Names that differ by more than this many edits are not suggested.
const SUGGESTION_DISTANCE_MAX: usize = 4;

/// Where a value was set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the file, on a line counted from 1.
    File(PathBuf, usize),
    /// In an environment variable.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong with the configuration: where, why, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// Where it is: a file and line with the key, or a variable.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) why: String,
    /// What to do.
    pub(crate) todo: String,
}

impl Problem {
    pub(crate) fn new(place: impl Into<String>, why: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { place: place.into(), why: why.into(), todo: todo.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.why, self.todo)
    }
}

/// A value as it was set.
enum Raw {
    Toml(Value),
    Text(String),
}

/// Where each key was set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Origins {
    keys: BTreeMap<(&'static str, &'static str), Origin>,
    /// By kind, name of the table and key.
    in_tables: BTreeMap<(&'static str, String, &'static str), Origin>,
    /// The tables themselves.
    tables: BTreeMap<(&'static str, String), Origin>,
}

impl Origins {
    /// Of a section's key.
    pub(crate) fn get(&self, section: &'static str, key: &'static str) -> &Origin {
        self.keys.get(&(section, key)).unwrap_or(&Origin::Default)
    }

    /// Of a table's key.
    pub(crate) fn get_named(&self, kind: &'static str, name: &str, key: &'static str) -> &Origin {
        self.in_tables.get(&(kind, name.to_owned(), key)).unwrap_or(&Origin::Default)
    }

    /// How a message names a table's key: where it is set, else where its table is.
    pub(super) fn place_in_table(&self, kind: &'static str, name: &str, key: &'static str) -> String {
        let origin = match self.get_named(kind, name, key) {
            Origin::Default => self.tables.get(&(kind, name.to_owned())),
            set => Some(set),
        };
        place(origin.unwrap_or(&Origin::Default), &format!("{kind}.{name}"), key)
    }
}

/// The values of one table that were set, and where it begins.
struct TableValues {
    begin: Origin,
    set: BTreeMap<&'static str, (Origin, Raw)>,
}

/// All that was set, and what is wrong with it so far.
#[derive(Default)]
pub(crate) struct Values {
    set: BTreeMap<(&'static str, &'static str), (Origin, Raw)>,
    tables: BTreeMap<(&'static str, String), TableValues>,
    origins: Origins,
    problems: Vec<Problem>,
}

impl Values {
    /// Adds what a file sets.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        let root: Table = match text.parse() {
            Ok(root) => root,
            Err(error) => return self.problems.push(syntax_error(path, text, &error)),
        };
        let lines = Lines::of(path, text);
        for (name, value) in root {
            if let Some(kind) = TABLES.iter().find(|k| k.name == name) {
                self.add_tables(kind, value, &lines);
                continue;
            }
            let place = lines.place(&[&name]);
            let Some(section) = SECTIONS.iter().find(|s| s.name == name) else {
                self.problems.push(unknown_at_top(&place, &name, &value));
                continue;
            };
            let Value::Table(table) = value else {
                let todo = format!("write it as a section, [{name}], with its keys below");
                self.problems.push(Problem::new(place, format!("'{name}' is a section"), todo));
                continue;
            };
            for (key_name, value) in table {
                match section.keys.iter().find(|k| k.name == key_name) {
                    Some(key) => {
                        let origin = lines.origin(&[&name, &key_name]);
                        self.set.insert((section.name, key.name), (origin, Raw::Toml(value)));
                    }
                    None => {
                        let place = lines.place(&[&name, &key_name]);
                        self.problems.push(unknown_key(&place, section.name, &key_name));
                    }
                }
            }
        }
    }

    /// Adds the tables of a kind that a file has.
    fn add_tables(&mut self, kind: &'static TableKind, value: Value, lines: &Lines<'_>) {
        let named = match value {
            Value::Table(named) => named,
            _ => return self.problems.push(unnamed(&lines.place(&[kind.name]), kind)),
        };
        for (name, value) in named {
            let place = lines.place(&[kind.name, &name]);
            let Value::Table(table) = value else {
                self.problems.push(unnamed(&place, kind));
                continue;
            };
            if let Some(problem) = name_problem(&place, kind, &name) {
                self.problems.push(problem);
                continue;
            }
            let begin = lines.origin(&[kind.name, &name]);
            let mut values = TableValues { begin, set: BTreeMap::new() };
            for (key_name, value) in table {
                match kind.keys.iter().find(|k| k.name == key_name) {
                    Some(key) => {
                        let origin = lines.origin(&[kind.name, &name, &key_name]);
                        values.set.insert(key.name, (origin, Raw::Toml(value)));
                    }
                    None => {
                        let place = lines.place(&[kind.name, &name, &key_name]);
                        self.problems.push(unknown_in_table(&place, kind, &name, &key_name));
                    }
                }
            }
            self.tables.insert((kind.name, name), values);
        }
    }

    /// Adds a variable that sets a key of a named table, `TRUNK__ACME__FROM`; whether it is one.
    fn add_named_variable(&mut self, name: &str, rest: &str, text: &str) -> bool {
        let Some((kind, rest)) =
            TABLES.iter().find_map(|k| Some((k, rest.strip_prefix(&format!("{}__", upper(k.name)))?)))
        else {
            return false;
        };
        let Some((table, key)) = rest.rsplit_once("__") else { return false };
        let Some(key) = kind.keys.iter().find(|k| upper(k.name) == key) else { return false };
        let table = table.to_ascii_lowercase().replace('_', "-");
        if let Some(problem) = name_problem(name, kind, &table) {
            self.problems.push(problem);
            return true;
        }
        let origin = Origin::Env(name.to_owned());
        let values = self
            .tables
            .entry((kind.name, table))
            .or_insert_with(|| TableValues { begin: origin.clone(), set: BTreeMap::new() });
        values.set.insert(key.name, (origin, Raw::Text(text.to_owned())));
        true
    }

    /// Adds what the environment sets, over what was there. Variables without the prefix, or that do not look
    /// like a setting, are somebody else's.
    pub(crate) fn add_env(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            let declared = SECTIONS
                .iter()
                .flat_map(|s| s.keys.iter().map(move |k| (s.name, k.name)))
                .find(|(s, k)| rest == env_rest(s, k));
            match declared {
                Some(key) => {
                    self.set.insert(key, (Origin::Env(name), Raw::Text(text)));
                }
                None if self.add_named_variable(&name, rest, &text) => {}
                None if looks_like_a_setting(rest) => self.problems.push(unknown_variable(&name, rest)),
                None => {}
            }
        }
    }

    /// The value of a key: where it was set last, else its default. None only if the default cannot be read.
    pub(super) fn take<T: Setting>(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: &str,
    ) -> Option<T> {
        let set = self.set.remove(&(section, key));
        let origin = set.as_ref().map_or(Origin::Default, |(origin, _)| origin.clone());
        let place = place(&origin, section, key);
        self.origins.keys.insert((section, key), origin);
        self.read(set.map(|(_, raw)| raw), &place, default)
    }

    /// The names of a kind's tables, wherever one was set. Those beyond the limit are told of and left out.
    pub(super) fn names(&mut self, kind: &'static str) -> Vec<String> {
        let all: Vec<String> =
            self.tables.keys().filter(|(k, _)| *k == kind).map(|(_, name)| name.clone()).collect();
        for name in &all {
            let begin = self.tables.get(&(kind, name.clone())).map(|t| t.begin.clone());
            self.origins.tables.insert((kind, name.clone()), begin.unwrap_or(Origin::Default));
        }
        let max = TABLES.iter().find(|k| k.name == kind).map_or(0, |k| k.max);
        if all.len() > max {
            let why = format!("there are {} tables of this kind, and at most {max} are taken", all.len());
            self.problems.push(Problem::new(format!("[{kind}.NAME]"), why, "join or remove some"));
        }
        all.into_iter().take(max).collect()
    }

    /// The value of a key of a named table.
    pub(super) fn take_named<T: Setting>(
        &mut self,
        kind: &'static str,
        name: &str,
        key: &'static str,
        default: &str,
    ) -> Option<T> {
        let table = self.tables.get_mut(&(kind, name.to_owned()));
        let set = table.and_then(|t| t.set.remove(key));
        let origin = set.as_ref().map_or(Origin::Default, |(origin, _)| origin.clone());
        let place = place(&origin, &format!("{kind}.{name}"), key);
        self.origins.in_tables.insert((kind, name.to_owned(), key), origin);
        self.read(set.map(|(_, raw)| raw), &place, default)
    }

    fn read<T: Setting>(&mut self, raw: Option<Raw>, place: &str, default: &str) -> Option<T> {
        let value = match &raw {
            Some(Raw::Toml(value)) => Some(T::from_toml(value)),
            Some(Raw::Text(text)) => Some(T::from_text(text)),
            None => None,
        };
        match value {
            Some(Ok(value)) => return Some(value),
            Some(Err(why)) => self.problems.push(Problem::new(place, why, format!("give {}", T::EXPECTED))),
            None => {}
        }
        match T::from_text(default) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(Problem::new(place, why, "report this: the default is broken"));
                None
            }
        }
    }

    /// Where each key was set, and what is wrong.
    pub(super) fn finish(self) -> (Origins, Vec<Problem>) {
        (self.origins, self.problems)
    }
}

/// How a message names a key: with the file and line, or by the variable.
pub(super) fn place(origin: &Origin, section: &str, key: &str) -> String {
    match origin {
        Origin::File(path, line) => format!("{}:{line} {section}.{key}", path.display()),
        Origin::Env(name) => name.clone(),
        Origin::Default => format!("{section}.{key}"),
    }
}

/// The environment variable of a key.
#[must_use]
pub(crate) fn env_name(section: &str, key: &str) -> String {
    format!("{ENV_PREFIX}{}", env_rest(section, key))
}

fn env_rest(section: &str, key: &str) -> String {
    format!("{}__{}", upper(section), upper(key))
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase()
}

/// `SIP__LISTN` and `SIP_UDP` do, `TEST_DIR` does not.
fn looks_like_a_setting(rest: &str) -> bool {
    rest.contains("__")
        || rest.split_once('_').is_some_and(|(s, _)| heads().any(|head| head.eq_ignore_ascii_case(s)))
}

/// The names that can stand at the top of a file: sections, and kinds of tables.
fn heads() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|s| s.name).chain(TABLES.iter().map(|k| k.name))
}

fn unknown_variable(name: &str, rest: &str) -> Problem {
    // The name of a table can be any: of the variable in question, the one that it has.
    let table = rest.split("__").nth(1).unwrap_or("NAME");
    let named = TABLES
        .iter()
        .flat_map(|t| t.keys.iter().map(move |k| format!("{}__{table}__{}", upper(t.name), upper(k.name))));
    let all = SECTIONS.iter().flat_map(|s| s.keys.iter().map(|k| env_rest(s.name, k.name))).chain(named);
    let todo = match nearest(rest, all) {
        Some(near) => format!("did you mean {ENV_PREFIX}{near}?"),
        None => "remove it, or see docs/configuration.md for what there is".to_owned(),
    };
    Problem::new(name, "no setting has this variable", todo)
}

fn unknown_key(place: &str, section: &str, key: &str) -> Problem {
    let here = SECTIONS.iter().filter(|s| s.name == section).flat_map(|s| s.keys).map(|k| k.name.to_owned());
    let elsewhere = || SECTIONS.iter().find(|s| s.keys.iter().any(|k| k.name == key));
    let todo = match (nearest(key, here), elsewhere()) {
        (_, Some(other)) => format!("it belongs into [{}]", other.name),
        (Some(near), None) => format!("did you mean '{near}'?"),
        (None, None) => format!("remove it, or see docs/configuration.md for what [{section}] has"),
    };
    Problem::new(place, format!("[{section}] has no key '{key}'"), todo)
}

fn unknown_in_table(place: &str, kind: &TableKind, name: &str, key: &str) -> Problem {
    let todo = match nearest(key, kind.keys.iter().map(|k| k.name.to_owned())) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("remove it, or see docs/configuration.md for what [{}.NAME] has", kind.name),
    };
    Problem::new(place, format!("[{}.{name}] has no key '{key}'", kind.name), todo)
}

/// A key, or something that is none, where the name of a table is expected.
fn unnamed(place: &str, kind: &TableKind) -> Problem {
    let todo = format!("write [{}.NAME], with a name of your own, and the keys below", kind.name);
    Problem::new(place, format!("each '{}' has a name", kind.name), todo)
}

/// Names stand in variables, directories and metrics, so they are plain; see [`TABLE_NAME_MAX`].
fn name_problem(place: &str, kind: &TableKind, name: &str) -> Option<Problem> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_fine = name.len() <= TABLE_NAME_MAX
        && name.starts_with(is_plain)
        && name.ends_with(is_plain)
        && name.chars().all(|c| is_plain(c) || c == '-');
    (!is_fine).then(|| {
        let todo =
            format!("give 1 to {TABLE_NAME_MAX} of a-z, 0-9 and '-', beginning and ending with a-z or 0-9");
        Problem::new(place, format!("'{name}' cannot be the name of a {}", kind.name), todo)
    })
}

fn unknown_at_top(place: &str, name: &str, value: &Value) -> Problem {
    let owner = SECTIONS.iter().find(|s| s.keys.iter().any(|k| k.name == name));
    if let (false, Some(section)) = (value.is_table(), owner) {
        return Problem::new(
            place,
            format!("'{name}' stands outside its section"),
            format!("move it below [{}]", section.name),
        );
    }
    let todo = match nearest(name, heads().map(str::to_owned)) {
        Some(near) if TABLES.iter().any(|k| k.name == near) => format!("did you mean [{near}.NAME]?"),
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("use one of {}", heads().collect::<Vec<_>>().join(", ")),
    };
    Problem::new(place, format!("there is no section '{name}'"), todo)
}

/// The name with the fewest edits, if there are few.
pub(super) fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let limit = SUGGESTION_DISTANCE_MAX.min(name.chars().count() / 2 + 1);
    names
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let why = error.message().lines().next().unwrap_or_default();
    Problem::new(format!("{}:{line}", path.display()), format!("not valid TOML: {why}"), "correct the line")
}

/// On which line of a file each section, table and key stands.
struct Lines<'a> {
    path: &'a Path,
    of: BTreeMap<Vec<String>, usize>,
}

impl<'a> Lines<'a> {
    fn of(path: &'a Path, text: &str) -> Self {
        let root = DeTable::parse(text).map(toml::Spanned::into_inner).unwrap_or_default();
        let mut of = BTreeMap::new();
        add_lines(&root, &[], text, &mut of);
        Self { path, of }
    }

    fn line(&self, names: &[&str]) -> usize {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.of.get(&names).copied().unwrap_or(1)
    }

    fn place(&self, names: &[&str]) -> String {
        format!("{}:{}", self.path.display(), self.line(names))
    }

    fn origin(&self, names: &[&str]) -> Origin {
        Origin::File(self.path.to_owned(), self.line(names))
    }
}

/// Down to the keys of named tables, the third level; what is below belongs to a value.
fn add_lines(table: &DeTable<'_>, above: &[String], text: &str, of: &mut BTreeMap<Vec<String>, usize>) {
    for (key, value) in table {
        let mut names = above.to_vec();
        names.push(key.get_ref().to_string());
        of.insert(names.clone(), line_of(text, key.span().start));
        if let Some(inner) = value.get_ref().as_table().filter(|_| names.len() < 3) {
            add_lines(inner, &names, text, of);
        }
    }
}
