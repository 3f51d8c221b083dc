//! The file beside a migration with its options: it can opt it out of its transaction.

use crate::layout::Layout;
use std::{fs, path::Path};

/// Reports whether the file beside this one says that its placeholders stay as they are.
pub(super) fn keeps_placeholders(path: &Path, layout: Layout) -> bool {
    let options = layout.options_file(path).and_then(|path| fs::read_to_string(path).ok());
    options.is_some_and(|options| layout.keeps_placeholders(&options))
}

/// Returns the reason why the file beside this one opts it out of its transaction.
pub(super) fn find_opt_out(path: &Path, layout: Layout) -> Option<String> {
    let path = layout.options_file(path)?;
    let options = fs::read_to_string(&path).ok()?;
    let line = layout.opt_out_line(&options)?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    Some(format!("`{}` in `{name}` asks for no transaction", line.trim()))
}
