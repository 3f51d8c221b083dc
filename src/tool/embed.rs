//! The build script: generates the lists of the files in `recipes` and `programs`, so that no source file has to name
//! them.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

const RECIPES: &str = "src/tool/recipes";

const PROGRAMS: &str = "src/tool/programs";

#[expect(clippy::print_stdout, reason = "a build script instructs Cargo on its standard output")]
#[expect(
    clippy::disallowed_methods,
    reason = "Cargo passes everything to a build script in its environment, and a build script is not async code"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut recipes = "[".to_owned();
    for path in paths_in(RECIPES)?.iter().filter(|path| path.ends_with(".yaml")) {
        write!(recipes, "include_str!({path:?}), ")?;
    }
    let mut programs = "[".to_owned();
    for path in paths_in(PROGRAMS)? {
        let name = path.rsplit('/').next().unwrap_or_default();
        write!(programs, "({name:?}, include_str!({path:?})), ")?;
    }
    println!("cargo::rerun-if-changed={RECIPES}");
    println!("cargo::rerun-if-changed={PROGRAMS}");
    let directory = env::var("OUT_DIR")?;
    fs::write(Path::new(&directory).join("recipes.rs"), recipes + "]")?;
    fs::write(Path::new(&directory).join("programs.rs"), programs + "]")?;
    Ok(())
}

/// Returns the absolute paths of the files in a directory, in order.
fn paths_in(directory: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        paths.push(fs::canonicalize(entry?.path())?.to_string_lossy().into_owned());
    }
    paths.sort();
    Ok(paths)
}
