//! A table that fits the terminal: columns that may be cut are cut, the widest first, until it does.

use std::io::{self, Write};

/// A cut column keeps so many characters, so that one still recognizes what is in it.
const CUT_MIN: usize = 6;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its heading.
    pub(super) title: &'static str,
    /// Whether it may be cut.
    pub(super) cut: bool,
}

/// Prints rows under headings, in so many characters a line if they can be had; none: as wide as it takes.
pub(super) fn print(
    out: &mut dyn Write,
    columns: &[Column],
    rows: &[Vec<String>],
    width: Option<usize>,
) -> io::Result<()> {
    let natural = |i: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(column.title.chars().count())
    };
    let mut widths: Vec<usize> = columns.iter().enumerate().map(|(i, c)| natural(i, c)).collect();
    if let Some(width) = width {
        narrow(&mut widths, columns, width);
    }
    let titles: Vec<String> = columns.iter().map(|c| c.title.to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, w)| fit(cell, *w)).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn narrow(widths: &mut [usize], columns: &[Column], width: usize) {
    let gaps = columns.len().saturating_sub(1) * 2;
    while widths.iter().sum::<usize>() + gaps > width {
        let can = |(i, w): &(usize, &mut usize)| columns.get(*i).is_some_and(|c| c.cut) && **w > CUT_MIN;
        let Some((_, widest)) = widths.iter_mut().enumerate().filter(can).max_by_key(|(_, w)| **w) else {
            return;
        };
        *widest -= 1;
    }
}

fn fit(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return format!("{cell:<width$}");
    }
    cell.chars().take(width.saturating_sub(1)).chain(['\u{2026}']).collect()
}

/// The width of the terminal that standard output is, if it is one. `COLUMNS` goes before.
pub(super) fn terminal_width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|c| *c > 0);
    said.or_else(|| terminal_size::terminal_size_of(io::stdout()).map(|(w, _)| usize::from(w.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_table_fits_the_width_it_is_given() {
        let columns = [
            Column { title: "id", cut: false },
            Column { title: "caller", cut: true },
            Column { title: "state", cut: true },
        ];
        let rows = [
            vec![
                "06jv3kq4g2n00".to_owned(),
                "alice.with.a.long.name@pbx.example".to_owned(),
                "partial-internal-error".to_owned(),
            ],
            vec!["06jv3kq4g2n01".to_owned(), "1001".to_owned(), "complete".to_owned()],
        ];
        let print_at = |width| {
            let mut out = Vec::new();
            print(&mut out, &columns, &rows, width).unwrap();
            String::from_utf8(out).unwrap()
        };
        expect![[r#"
            id             caller              state
            06jv3kq4g2n00  alice.with.a.long…  partial-internal…
            06jv3kq4g2n01  1001                complete
        "#]]
        .assert_eq(&print_at(Some(52)));
        assert!(print_at(Some(52)).lines().all(|l| l.chars().count() <= 52));
        assert!(print_at(None).contains("alice.with.a.long.name@pbx.example  partial-internal-error"));
        assert!(print_at(Some(1)).lines().all(|l| l.chars().count() <= 13 + 2 * CUT_MIN + 4));
    }
}
