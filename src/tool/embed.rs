//! The build script: generates the list of the files in `recipes`, so that no source file has to name them.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

const RECIPES: &str = "src/tool/recipes";

#[expect(clippy::print_stdout, reason = "a build script instructs Cargo on its standard output")]
#[expect(
    clippy::disallowed_methods,
    reason = "Cargo passes everything to a build script in its environment, and a build script is not async code"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={RECIPES}");
    let mut paths = Vec::new();
    for entry in fs::read_dir(RECIPES)? {
        paths.push(fs::canonicalize(entry?.path())?);
    }
    paths.sort();
    let mut list = "[".to_owned();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "yaml")) {
        write!(list, "include_str!({path:?}), ")?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("recipes.rs"), list + "]")?;
    Ok(())
}
