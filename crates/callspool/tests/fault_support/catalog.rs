//! The catalogue file as another program sees it: its outbox read, its lock held.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};

use crate::support::server::Server;

/// Where it is.
pub fn path_of(server: &Server) -> PathBuf {
    server.state().join("catalog.db")
}

/// Somebody else's connection.
pub struct Stranger {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl Stranger {
    /// Opens the file.
    pub fn open(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(path);
        let connection =
            runtime.block_on(SqliteConnection::connect_with(&options)).expect("the catalog opens");
        Self { runtime, connection }
    }

    /// Begins a transaction that keeps everybody else from writing.
    pub fn lock(&mut self) {
        self.execute("BEGIN EXCLUSIVE");
    }

    /// Ends it.
    pub fn release(&mut self) {
        self.execute("ROLLBACK");
    }

    /// Alarms in the outbox: kind and text.
    pub fn alarms(&mut self) -> Vec<(String, String)> {
        let query = sqlx::query("SELECT body FROM events WHERE kind = 'alarm' ORDER BY id");
        let rows = self.runtime.block_on(query.fetch_all(&mut self.connection)).expect("events");
        rows.iter()
            .map(|row| {
                let body: serde_json::Value = serde_json::from_str(row.get::<&str, _>(0)).expect("JSON");
                let text = |key: &str| body[key].as_str().expect(key).to_owned();
                (text("alarm"), text("text"))
            })
            .collect()
    }

    fn execute(&mut self, statement: &'static str) {
        let query = sqlx::query(statement);
        self.runtime.block_on(query.execute(&mut self.connection)).expect(statement);
    }
}

/// Alarms that the server has told the catalogue, kind and text.
pub fn alarms(server: &Server) -> Vec<(String, String)> {
    Stranger::open(&path_of(server)).alarms()
}
