//! The tools, each with its own layout of files.
#![expect(clippy::disallowed_methods, reason = "starts the tools")]

use crate::{lab::postgres::Database, program, world::World};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A tool that applies migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Ours,
    Diesel,
    Sqlx,
    Refinery,
}

pub(crate) const PEERS: [Tool; 3] = [Tool::Diesel, Tool::Sqlx, Tool::Refinery];

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "bastion-migrate",
            Self::Diesel => "diesel_cli",
            Self::Sqlx => "sqlx-cli",
            Self::Refinery => "refinery_cli",
        }
    }

    /// Writes the files in the tool's layout.
    pub(crate) fn lay_out(self, files: &Path, count: usize) {
        for number in 1..=count {
            let path = files.join(match self {
                Self::Ours | Self::Sqlx => format!("{number:05}_t.sql"),
                Self::Diesel => format!("2026-01-01-{number:06}_t/up.sql"),
                Self::Refinery => format!("V{number}__t.sql"),
            });
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
            fs::write(path, statement(number)).expect("there is room");
        }
    }

    /// Returns the command that applies the files. The port is the forwarded one for peers, and the bastion's for ours.
    pub(crate) fn command(self, world: &World, database: &Database, files: &Path, port: u16) -> Command {
        let (program, arguments): (_, &[&str]) = match self {
            Self::Ours => return program::step(world, database, "migrate", files, port),
            Self::Diesel => ("diesel", &["migration", "run", "--migration-dir"]),
            Self::Sqlx => ("sqlx", &["migrate", "run", "--no-dotenv", "--source"]),
            Self::Refinery => ("refinery", &["migrate", "-e", "DATABASE_URL", "-p"]),
        };
        let mut command = Command::new(peer(program));
        command.current_dir(world.home()).env("DATABASE_URL", world.url(database, port) + "?sslmode=disable");
        command.args(arguments).arg(files);
        command
    }
}

/// Returns the content of the file with this number.
pub(crate) fn statement(number: usize) -> String {
    format!("create table t_{number} (id bigint primary key, name text not null);\n")
}

/// Returns the path of a peer that `make bench` has installed.
fn peer(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin").join(program);
    assert!(path.exists(), "{} is missing: run `make bench`", path.display());
    path
}
