//! The layouts that a directory fits. Where there are several, the ledger in the database decides.

use super::{
    listing::{DirectoryListing, ListedFile, is_sql},
    named_file::{FilePlace, NameReading},
};
use crate::{
    fault::{Code, Fault},
    layout::{self, Application, Depth, Fit, FoundFiles, Layout, LayoutChoice},
    settings::SqlSettings,
};
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

/// The layouts that a directory fits.
#[derive(Debug)]
pub(super) struct Detection {
    /// The names, parsed by the first candidate.
    pub(super) reading: NameReading,
    /// The layouts, the preferred one first.
    pub(super) candidates: Vec<Layout>,
    /// The file which shows that a tool applies the migrations.
    pub(super) application: Option<Application>,
    pub(super) listing: DirectoryListing,
}

impl Detection {
    /// Lists the directory and finds the layouts.
    ///
    /// # Errors
    ///
    /// The reason why the directory can't be listed, or the two layouts whose files are mixed in it.
    pub(super) fn of(settings: &SqlSettings) -> Result<Self, Fault> {
        match settings.layout {
            LayoutChoice::Named(layout) => {
                let listing = DirectoryListing::read(settings, layout.depth())?;
                let reading = NameReading::of(layout, &listing.files);
                Ok(Self { reading, candidates: vec![layout], application: None, listing })
            }
            LayoutChoice::Auto => Self::detect(settings),
        }
    }

    fn detect(settings: &SqlSettings) -> Result<Self, Fault> {
        let listing = DirectoryListing::read(settings, Depth::Directories)?;
        let marks = find_marks(&listing.files);
        if let [first, second, ..] = marks.as_slice() {
            return Err(two_marks_fault(first, second));
        }
        let marks: Vec<&'static str> = marks.iter().map(|mark| mark.layout.name()).collect();
        // One reading after the other: each has as many names as there are files.
        let fits: Vec<LayoutFit> =
            layout::ALL.into_iter().map(|layout| LayoutFit::of(layout, &listing.files, &marks)).collect();
        if let Some((first, second)) = mixed_directory(&fits) {
            return Err(mixed_fault(settings, first, second));
        }
        let best = fits.iter().map(|found| found.fit).max().filter(|fit| *fit != Fit::No);
        let best = best.unwrap_or(Fit::Certain);
        let mut candidates: Vec<Layout> =
            fits.iter().filter(|found| found.fit == best).map(|found| found.layout).collect();
        if candidates.is_empty() {
            candidates.push(Layout::default());
        }
        let first = candidates.first().copied().unwrap_or_default();
        let reading = NameReading::of(first, &listing.files);
        let (reading, listing) = match reading.layout.depth() {
            Depth::Recursive => {
                let listing = DirectoryListing::read(settings, Depth::Recursive)?;
                (NameReading::of(reading.layout, &listing.files), listing)
            }
            Depth::Flat | Depth::Directories => (reading, listing),
        };
        let application = find_application(settings, &candidates);
        Ok(Self { reading, candidates, application, listing })
    }
}

/// The degree to which the directory fits a layout.
#[derive(Debug)]
struct LayoutFit {
    layout: Layout,
    fit: Fit,
    /// One of its files.
    example: String,
}

impl LayoutFit {
    fn of(layout: Layout, files: &[ListedFile], marks: &[&'static str]) -> Self {
        let reading = NameReading::of(layout, files);
        let names: Vec<_> = reading.entries.iter().map(|entry| &entry.name).collect();
        let found = FoundFiles {
            names: &names,
            left_out: reading.left_out.iter().filter(|left_out| left_out.place == FilePlace::Beside).count(),
            unreadable: reading.unreadable,
            marks,
        };
        let example = reading.entries.first().map_or_else(String::new, |entry| entry.file.clone());
        Self { layout, fit: layout.fit(&found), example }
    }
}

/// Finds two layouts of which one reads directories and the other files beside them.
fn mixed_directory(fits: &[LayoutFit]) -> Option<(&LayoutFit, &LayoutFit)> {
    let mut fitting = fits.iter().filter(|found| found.fit != Fit::No);
    let of_directories = fitting.clone().find(|found| found.layout.depth() == Depth::Directories)?;
    let other = fitting.find(|found| found.layout != of_directories.layout)?;
    Some((of_directories, other))
}

fn mixed_fault(settings: &SqlSettings, first: &LayoutFit, second: &LayoutFit) -> Fault {
    let (first_name, second_name) = (first.layout.name(), second.layout.name());
    let cause = format!(
        "files of two layouts are mixed in `{}`: `{}` is one of {first_name}, `{}` one of {second_name}",
        settings.migrations, first.example, second.example
    );
    Fault::new(Code::LayoutAmbiguous, cause).fix(format!(
        "set `layout: {first_name}` or `layout: {second_name}`, or move the files of the other one to a directory of their own"
    ))
}

/// A mark of a layout in a file.
#[derive(Debug)]
struct FoundMark {
    layout: Layout,
    file: String,
    line: String,
}

/// Finds the marks in the SQL files of the directory itself, one for each layout.
fn find_marks(files: &[ListedFile]) -> Vec<FoundMark> {
    let mut found: Vec<FoundMark> = Vec::new();
    for listed in files {
        let Some(name) = listed.relative_path.as_deref().filter(|path| !path.contains('/')) else { continue };
        if !is_sql(Path::new(name)) {
            continue;
        }
        let add_marks = |line: &str| {
            for layout in layout::marked_layouts(line) {
                if found.iter().all(|mark| mark.layout != layout) {
                    found.push(FoundMark { layout, file: name.to_owned(), line: line.trim().to_owned() });
                }
            }
        };
        // A file that can't be read is a fault later, if it is a migration.
        drop(read_comment_lines(&listed.path, add_marks));
    }
    found
}

/// The length in bytes of the part of a line in which a mark is looked for.
const LONGEST_MARK: u64 = 4 << 10;

/// Calls `see_line` with each line that begins with dashes, or its beginning. Files other than ordinary ones are not read:
/// what a pipe contains is there only once.
fn read_comment_lines(path: &Path, mut see_line: impl FnMut(&str)) -> io::Result<()> {
    if !fs::metadata(path)?.is_file() {
        return Ok(());
    }
    let mut input = BufReader::new(File::open(path)?);
    let (mut part, mut is_beginning) = (Vec::new(), true);
    loop {
        part.clear();
        if input.by_ref().take(LONGEST_MARK).read_until(b'\n', &mut part)? == 0 {
            return Ok(());
        }
        if is_beginning
            && part.starts_with(b"--")
            && let Ok(line) = std::str::from_utf8(&part)
        {
            see_line(line);
        }
        is_beginning = part.ends_with(b"\n");
    }
}

fn two_marks_fault(first: &FoundMark, second: &FoundMark) -> Fault {
    let (first_name, second_name) = (first.layout.name(), second.layout.name());
    let cause = format!(
        "the files have marks of two layouts: `{}` in `{}` is one of {first_name}, `{}` in `{}` one of {second_name}",
        first.line, first.file, second.line, second.file
    );
    Fault::new(Code::LayoutAmbiguous, cause)
        .fix(format!("set `layout: {first_name}` or `layout: {second_name}`, and correct the files of the other one"))
}

/// Finds the file which shows that the tool of one of these layouts applies the migrations; a tool's own configuration
/// counts more than an application that depends on the tool.
fn find_application(settings: &SqlSettings, candidates: &[Layout]) -> Option<Application> {
    let found = candidates.iter().filter_map(|layout| {
        let (file, evidence) = layout.find_evidence(Path::new(&settings.migrations), &settings.directory)?;
        Some(Application { layout: *layout, file, evidence })
    });
    let found: Vec<Application> = found.collect();
    let configured = found.iter().find(|application| application.evidence == layout::Evidence::Configuration);
    configured.or_else(|| found.first()).cloned()
}
