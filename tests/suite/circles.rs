//! Import cycles between files of the program: there are none. Needs no server.
//!
//! A file depends on another if it imports or names an item that is defined there. A `pub use` is no dependency: it is
//! followed to the file that defines the item.

#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "positions found in a text are within it, and the sources are readable"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Segments of a path from the root of the crate.
type Module = Vec<String>;

#[derive(Default)]
struct ModuleGraph {
    /// Production code of each module.
    code: BTreeMap<Module, String>,
    /// Targets of each module's `pub use` statements by name.
    exports: BTreeMap<(Module, String), Module>,
}

impl ModuleGraph {
    fn of(sources: &[(Module, String)]) -> Self {
        let mut modules = Self::default();
        for (module, source) in sources {
            modules.code.insert(module.clone(), production(source));
        }
        for (module, code) in modules.code.clone() {
            for statement in uses(&code).filter(|statement| statement.starts_with("pub")) {
                for leaf in leaves(tree_of(statement)) {
                    let Some(target) = modules.absolute(&module, &leaf) else { continue };
                    let name = leaf.last().cloned().unwrap_or_default();
                    modules.exports.insert((module.clone(), name), target);
                }
            }
        }
        modules
    }

    /// Returns the path from the root of the crate; `None` for a path of another crate.
    fn absolute(&self, here: &Module, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([here, rest].concat()),
            "super" => {
                let above = here.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default();
                if rest.first().is_some_and(|next| next == "super") {
                    self.absolute(&above, rest)
                } else {
                    Some([&above, rest].concat())
                }
            }
            _ => {
                let child = [here.as_slice(), std::slice::from_ref(first)].concat();
                self.code.contains_key(&child).then(|| [here, path].concat())
            }
        }
    }

    /// Returns the module that defines the item at this path.
    fn definition(&self, path: &[String]) -> Option<Module> {
        let length = (1..=path.len()).rev().find(|length| self.code.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let export = rest.first().and_then(|name| self.exports.get(&(module.to_vec(), name.clone())));
        match export {
            Some(target) => self.definition(&[target.as_slice(), &rest[1..]].concat()),
            None => Some(module.to_vec()),
        }
    }

    fn dependencies(&self, module: &Module) -> BTreeSet<Module> {
        let code = &self.code[module];
        let imports = uses(code)
            .filter(|statement| !statement.starts_with("pub"))
            .flat_map(|statement| leaves(tree_of(statement)));
        let named = code.split("crate::").skip(1).filter(|rest| !rest.starts_with('{')).map(|rest| {
            let path = rest.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':')).next();
            let segments = path.unwrap_or_default().split("::").filter(|segment| !segment.is_empty());
            ["crate".to_owned()].into_iter().chain(segments.map(str::to_owned)).collect::<Vec<_>>()
        });
        let targets = imports.chain(named).filter_map(|path| self.definition(&self.absolute(module, &path)?));
        targets.filter(|target| target != module).collect()
    }

    /// Returns the first cycle as the names of its modules.
    fn first_cycle(&self) -> Option<Vec<String>> {
        let graph: BTreeMap<&Module, BTreeSet<Module>> =
            self.code.keys().map(|module| (module, self.dependencies(module))).collect();
        let mut done = BTreeSet::new();
        graph.keys().find_map(|module| cycle_from(module, &graph, &mut Vec::new(), &mut done))
    }
}

fn cycle_from(
    module: &Module,
    graph: &BTreeMap<&Module, BTreeSet<Module>>,
    path: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|above| above == module) {
        return Some(path[start..].iter().map(|module| module.join("/")).collect());
    }
    if done.contains(module) {
        return None;
    }
    path.push(module.clone());
    let found = graph[module].iter().find_map(|next| cycle_from(next, graph, path, done));
    path.pop();
    done.insert(module.clone());
    found
}

/// Returns the code above the unit tests, without comments.
fn production(source: &str) -> String {
    let end = source.find("\n#[cfg(test)]\nmod tests").unwrap_or(source.len());
    let lines = source[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns every `use` statement, from its visibility to its semicolon.
fn uses(code: &str) -> impl Iterator<Item = &str> {
    let starts = |line: &str| {
        ["use ", "pub use ", "pub(crate) use ", "pub(super) use "].iter().any(|start| line.starts_with(start))
    };
    let mut at = 0;
    code.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        starts(line).then(|| code[start..].split(';').next()).flatten()
    })
}

fn tree_of(statement: &str) -> &str {
    statement.split_once("use ").map_or("", |(_, tree)| tree)
}

/// Returns the paths of a tree of imports, without names after `as`.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((front, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![
            path.split("::").map(|segment| segment.trim().to_owned()).filter(|segment| segment != "self").collect(),
        ];
    };
    let front: Vec<String> =
        front.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let group = group.rsplit_once('}').map_or("", |(group, _)| group);
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&group[start..]);
    let items = items.into_iter().filter(|item| !item.trim().is_empty());
    items.flat_map(leaves).map(|leaf| [front.clone(), leaf].concat()).collect()
}

fn sources() -> Vec<(Module, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut files) = (vec![root.clone()], Vec::<PathBuf>::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    let module = |path: &Path| -> Module {
        let path = path.strip_prefix(&root).unwrap().with_extension("");
        path.iter().map(|part| part.to_string_lossy().into_owned()).filter(|part| part != "mod").collect()
    };
    files.iter().map(|path| (module(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_files_of_the_program_have_no_import_cycle() {
    let modules = ModuleGraph::of(&sources());
    assert!(modules.code.len() > 100);
    assert_eq!(modules.first_cycle(), None);
}

#[test]
fn a_cycle_through_a_reexport_is_found() {
    let source = |module: &str, text: &str| (module.split('/').map(str::to_owned).collect(), text.to_owned());
    let mut sources = vec![
        source("a", "mod one;\nmod two;\npub use one::{One, Other as Another};\n"),
        source("a/one", "use super::two::{\n    Two,\n};\nstruct One;\n"),
        source("a/two", "struct Two;\n// crate::a::One\n#[cfg(test)]\nmod tests {}\n"),
        source("b", "use crate::a::{self, One};\n"),
    ];
    assert_eq!(ModuleGraph::of(&sources).first_cycle(), None);
    sources[2].1 = "fn two() -> crate::a::One {}\n".to_owned();
    assert_eq!(ModuleGraph::of(&sources).first_cycle(), Some(vec!["a/one".to_owned(), "a/two".to_owned()]));
}
