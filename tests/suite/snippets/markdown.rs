//! A page of the documentation: its fenced blocks, headings and links, as far as GitHub's Markdown is used there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A document of the repository.
#[derive(Debug)]
pub(crate) struct Page {
    /// Path from the top of the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Where it is: `docs/inputs.md:12`.
    pub(crate) place: String,
    /// The word behind the fence.
    pub(crate) language: String,
    /// The lines, without the indentation of a surrounding list.
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    /// Reads the README and every page of `docs`, in the order of their names.
    pub(crate) fn read_all() -> Vec<Self> {
        let entries = fs::read_dir(root().join("docs")).expect("there are documents");
        let paths =
            entries.map(|entry| PathBuf::from("docs").join(entry.expect("a directory can be read").file_name()));
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|found| found == "md")).collect();
        paths.push("README.md".into());
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    pub(crate) fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Returns the fenced blocks. A fence that is not closed is a failure.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut found, mut open): (Vec<Block>, Option<(Block, &str)>) = (Vec::new(), None);
        for (index, line) in self.text.lines().enumerate() {
            let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
            open = match (open, rest.strip_prefix("```")) {
                (None, None) => None,
                (None, Some(language)) => {
                    let place = format!("{}:{}", self.path.display(), index + 1);
                    Some((Block { place, language: language.trim().to_owned(), text: String::new() }, indent))
                }
                (Some((block, _)), Some(_)) => {
                    found.push(block);
                    None
                }
                (Some((mut block, indent)), None) => {
                    block.text += line.strip_prefix(indent).unwrap_or_else(|| line.trim_start());
                    block.text.push('\n');
                    Some((block, indent))
                }
            };
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path.display());
        found
    }

    /// Returns the lines outside of fenced blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        self.text.lines().scan(false, |fenced, line| {
            let is_fence = line.trim_start().starts_with("```");
            *fenced ^= is_fence;
            Some(if *fenced || is_fence { "" } else { line })
        })
    }

    /// Returns the anchors of the headings, as GitHub makes them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.prose().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let anchor = anchor(line.trim_start_matches('#').trim());
                let count = seen.entry(anchor.clone()).or_default();
                *count += 1;
                if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
            })
            .collect()
    }

    /// Returns the anchors of the headings below the title, not of those below them.
    pub(crate) fn sections(&self) -> Vec<String> {
        self.prose().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect()
    }

    /// Returns the targets of links and images, those inside of code excepted.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose: String = self.prose().map(|line| format!("{line}\n")).collect();
        // Every second part is code.
        let text: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let after = |start: &'static str, end: char| {
            text.split(start)
                .skip(1)
                .filter_map(move |rest| rest.split(end).next())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        [after("](", ')'), after("src=\"", '"'), after("srcset=\"", '"')].concat()
    }

    /// Returns the first line of each block that is indented instead of fenced.
    pub(crate) fn indented_blocks(&self) -> Vec<String> {
        let lines: Vec<&str> = self.prose().collect();
        let pairs = lines.iter().zip(lines.iter().skip(1)).enumerate();
        let begins = pairs.filter(|(_, (before, line))| before.trim().is_empty() && line.starts_with("    "));
        begins.map(|(index, (_, line))| format!("{}:{}: {}", self.path.display(), index + 2, line.trim())).collect()
    }
}

/// Returns the anchor of a heading. Source: github.com, as `github-slugger` reproduces it.
fn anchor(heading: &str) -> String {
    let text: String = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
    text.replace(' ', "-")
}

#[test]
fn an_anchor_is_that_of_github() {
    let page = |text: &str| Page { path: "x.md".into(), text: text.to_owned() };
    assert_eq!(
        page("# A `b-c`: what?\n## Once\n## Once\n```\n# no heading\n```\n").anchors(),
        ["a-b-c-what", "once", "once-1"]
    );
    assert_eq!(page("[a](b.md#c) `[d](e)` <img src=\"f.png\">\n").links(), ["b.md#c", "f.png"]);
    assert_eq!(page("a\n\n    b\n```sh\n\n    c\n```\n").indented_blocks(), ["x.md:3: b"]);
}
