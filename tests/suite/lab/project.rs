//! The project on the first users' servers: the application's sources, a file with its settings, and a Python
//! environment or a compose file. The sources are those of the images (`tests/container/app`), plus the server's files.

use std::{fs, path::Path};

/// The key in every `.env`; it is only on the server.
pub(crate) const SECRET_KEY: &str = "django-insecure-of-the-server";

/// The sources from `tests/server` that are copied over the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Project {
    /// One schema.
    Plain,
    /// A schema for each tenant.
    Tenants,
}

impl Project {
    /// Returns the value of `DJANGO_SETTINGS_MODULE`.
    fn settings(self) -> &'static str {
        match self {
            Self::Plain => "backend.settings.production",
            Self::Tenants => "backend.settings.tenants",
        }
    }

    /// Copies the sources into this directory.
    pub(crate) fn unpack(self, into: &Path) {
        let layers: &[&str] = match self {
            Self::Plain => &["container/app/project", "server/dotenv"],
            Self::Tenants => &["container/app/project", "server/dotenv", "server/tenants"],
        };
        for layer in layers {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(layer), into);
        }
    }

    /// Returns the content of the `.env` file beside `manage.py`.
    pub(crate) fn dotenv(self, database_url: &str) -> String {
        let settings = self.settings();
        format!(
            "DATABASE_URL={database_url}\nSECRET_KEY={SECRET_KEY}\nDJANGO_SETTINGS_MODULE={settings}\n\
             DEBUG=False\nALLOWED_HOSTS=shop.example.com\n"
        )
    }
}

/// Copies the content of one directory into the other, over its files.
pub(crate) fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).expect("there is room");
    for entry in fs::read_dir(from).expect("the sources are there").flatten() {
        let (path, to) = (entry.path(), into.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("there is room");
        }
    }
}
