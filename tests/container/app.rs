//! The first users' application (`tests/container/app`), and a step that migrates in an image.

use crate::{engine::image, judge::Finished, network::Database, step::Step};

/// Django 4.2 with psycopg 2.
pub(crate) const DJANGO_4_2: &str = "bastion-migrate-app:django-4.2";
/// Django 5.2 with psycopg 3.
pub(crate) const DJANGO_5_2: &str = "bastion-migrate-app:django-5.2";

/// The application's migrations, in their order.
pub(crate) const MIGRATIONS: [&str; 5] = [
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
];

/// The additional last migration of a step with [`Step::trouble`].
pub(crate) const TROUBLE: &str = "trouble.0001_trouble";

/// Returns all migrations, including the one with trouble.
pub(crate) fn with_trouble() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.into_iter().chain([TROUBLE])
}

/// Returns the database URL of the app's production settings, which contains nothing about a tunnel.
pub(crate) fn production_url(database: &Database) -> String {
    format!("{}?sslmode=verify-full", database.url())
}

impl Finished {
    /// Expects success in a database without any tool's ledger.
    pub(crate) fn succeeds_without_ledger(self) -> Self {
        self.succeeds().warning("no ledger was found in the database")
    }
}

impl<'a> Step<'a> {
    /// A step that runs this in a container of this image. `run` may have any form that the input accepts.
    pub(crate) fn in_image(database: &'a Database, image: &str, run: &str) -> Self {
        let step = Self::new(database).input("executor", "image").input("image", image);
        step.input("tool", "custom").input("run", run)
    }

    /// A step that migrates with Django in this image of the application.
    pub(crate) fn of_app(database: &'a Database, app: &str) -> Self {
        let step = Self::new(database).input("executor", "image").input("image", image(app)).input("tool", "django");
        step.pass_variable("SECRET_KEY=not a secret of ours")
    }

    /// Appends a line to the input `env`.
    pub(crate) fn pass_variable(self, line: &str) -> Self {
        let before = self.job.inputs.get("env").cloned().unwrap_or_default();
        self.input("env", before + line + "\n")
    }

    /// Adds a migration with this fault to the application (`tests/container/app/project/trouble`).
    pub(crate) fn trouble(self, fault: &str) -> Self {
        self.pass_variable(&format!("APP_TROUBLE={fault}"))
    }
}
