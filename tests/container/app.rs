//! The first users' application (`tests/container/app`), and a step that migrates in an image.

use crate::{engine::image, judge::Finished, network::Database, step::Step};

/// Django 4.2 with psycopg 2.
pub(crate) const DJANGO_4_2: &str = "bastion-migrate-app:django-4.2";
/// Django 5.2 with psycopg 3.
pub(crate) const DJANGO_5_2: &str = "bastion-migrate-app:django-5.2";

/// What it applies, in this order.
pub(crate) const MIGRATIONS: [&str; 5] = [
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
];

/// The last one, if there is [`Step::trouble`].
pub(crate) const TROUBLE: &str = "trouble.0001_trouble";

/// All of them.
pub(crate) fn with_trouble() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.into_iter().chain([TROUBLE])
}

/// The database as the app's production settings name it: nothing in it tells of a tunnel.
pub(crate) fn production_url(database: &Database) -> String {
    format!("{}?sslmode=verify-full", database.url())
}

impl Finished {
    /// A program ended well in a database where no tool has ever kept a ledger.
    pub(crate) fn unrecorded(self) -> Self {
        self.succeeds().warning("no ledger was found in the database")
    }
}

impl<'a> Step<'a> {
    /// A step that runs this in a container of this image; what it is told is in `run`'s own forms.
    pub(crate) fn in_image(database: &'a Database, image: &str, run: &str) -> Self {
        let step = Self::new(database).input("executor", "image").input("image", image);
        step.input("tool", "custom").input("run", run)
    }

    /// A step that has Django migrate in this image of the application.
    pub(crate) fn of_app(database: &'a Database, app: &str) -> Self {
        let step = Self::new(database).input("executor", "image").input("image", image(app)).input("tool", "django");
        step.hands_over("SECRET_KEY=not a secret of ours")
    }

    /// One more line of the input `env`.
    pub(crate) fn hands_over(self, line: &str) -> Self {
        let before = self.job.inputs.get("env").cloned().unwrap_or_default();
        self.input("env", before + line + "\n")
    }

    /// The application has one migration more, and this is wrong with it (`tests/container/app/project/trouble`).
    pub(crate) fn trouble(self, what: &str) -> Self {
        self.hands_over(&format!("APP_TROUBLE={what}"))
    }
}
