//! The build script: writes a list of the recipes that lie in `recipes`, so that no source has one.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

const RECIPES: &str = "src/tool/recipes";

#[expect(clippy::print_stdout, reason = "it is how Cargo hears what a build script has to say")]
#[expect(
    clippy::disallowed_methods,
    reason = "a build script is told everything by its environment, and is no async code"
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
