//! Many rows by one statement.
//!
//! A statement costs two thread switches, whatever it does; a row in it costs what it is. So rows are read and written
//! many at a time, by statements of few lengths: each is prepared once and kept.

use sqlx::query_builder::Separated;
use sqlx::{FromRow, QueryBuilder};

use super::engine::{Connection, Db, Row};

/// 64 rows of 17 columns are 1,088 parameters, where SQLite takes 32,766 and PostgreSQL 65,535; more in one save little.
const LENGTHS: [usize; 4] = [64, 16, 4, 1];

/// The values of a row, bound one after the other.
pub(crate) type Values<'a> = Separated<'a, Db, &'static str>;

/// Writes rows: `INSERT INTO … (columns) `, what each row binds, ` ON CONFLICT …`. No two rows may be the same to that.
pub(crate) async fn insert<T>(
    db: &mut Connection,
    into: &'static str,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
    conflict: &'static str,
) -> Result<(), sqlx::Error> {
    for piece in pieces(rows) {
        let mut sql = QueryBuilder::new(into);
        sql.push_values(piece, |mut values, row| bind(&mut values, row));
        sql.push(conflict);
        sql.build().execute(&mut *db).await?;
    }
    Ok(())
}

/// Reads the rows of some keys: `SELECT … WHERE … IN`, the keys, what follows. Keys of one piece come together.
pub(crate) async fn select<T>(
    db: &mut Connection,
    select: &'static str,
    keys: &[i64],
    behind: &'static str,
) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'r> FromRow<'r, Row> + Send + Unpin,
{
    let mut all = Vec::new();
    for piece in pieces(keys) {
        let mut sql = keyed(select, piece);
        sql.push(behind);
        all.append(&mut sql.build_query_as().fetch_all(&mut *db).await?);
    }
    Ok(all)
}

/// Removes the rows of some keys: `DELETE FROM … WHERE … IN`.
pub(crate) async fn delete(
    db: &mut Connection,
    delete: &'static str,
    keys: &[i64],
) -> Result<(), sqlx::Error> {
    for piece in pieces(keys) {
        keyed(delete, piece).build().execute(&mut *db).await?;
    }
    Ok(())
}

fn keyed(before: &'static str, keys: &[i64]) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new(before);
    sql.push(" (");
    let mut list = sql.separated(", ");
    keys.iter().for_each(|key| {
        list.push_bind(*key);
    });
    sql.push(")");
    sql
}

fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = LENGTHS.into_iter().find(|n| *n <= rest.len())?;
        let (piece, behind) = rest.split_at(length);
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_come_once_in_statements_of_few_lengths() {
        for count in [0, 1, 3, 5, 64, 200] {
            let rows: Vec<usize> = (0..count).collect();
            let all: Vec<&[usize]> = pieces(&rows).collect();
            assert_eq!(all.concat(), rows);
            assert!(all.iter().all(|piece| LENGTHS.contains(&piece.len())), "{count}");
        }
        assert_eq!(pieces(&[0; 200]).count(), 3 + 2);
    }
}
