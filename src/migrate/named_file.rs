//! A file of the directory and its name, before its text is read.

use super::{
    blocks::unreadable, files::LoadedFile, filled_text::Filling, listing::ListedFile, options_file::find_opt_out,
    parsed_file::ParsedFile, way_back::WayBack,
};
use crate::{
    fault::{Code, Fault, FilePosition},
    layout::{FileName, FileRole, Layout, PathReading},
    run::MigrationId,
    settings::Placeholders,
};
use std::{fs, io, path::PathBuf};

/// The length in bytes above which a file is not held in memory.
const LONG_FILE_BYTES: u64 = 1 << 20;

/// A file of the directory and its parsed name.
#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) path: PathBuf,
    /// The path in the directory.
    pub(super) relative_path: String,
    /// The path as the user would write it.
    pub(super) file: String,
    pub(super) name: FileName,
}

/// The names of the directory, parsed by one layout.
#[derive(Debug)]
pub(super) struct NameReading {
    pub(super) layout: Layout,
    pub(super) entries: Vec<NamedFile>,
    /// SQL files that the layout does not read.
    pub(super) left_out: Vec<LeftOutFile>,
    /// Number of files whose names can't be read.
    pub(super) unreadable: usize,
    pub(super) faults: Vec<Fault>,
}

/// A SQL file that the layout does not read.
#[derive(Debug)]
pub(super) struct LeftOutFile {
    /// The path as the user would write it.
    pub(super) file: String,
    pub(super) place: FilePlace,
}

/// The place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FilePlace {
    /// In the directory that the user named.
    Beside,
    /// In a directory below it.
    Below,
}

impl NameReading {
    /// Parses the names of these files.
    pub(super) fn of(layout: Layout, files: &[ListedFile]) -> Self {
        let mut reading = Self { layout, entries: Vec::new(), left_out: Vec::new(), unreadable: 0, faults: Vec::new() };
        for file in files {
            reading.add(file);
        }
        let refused = reading.entries.iter().filter_map(|entry| entry.refusal_fault(layout));
        let refused: Vec<Fault> = refused.collect();
        reading.faults.extend(refused);
        reading
    }

    fn add(&mut self, listed: &ListedFile) {
        let (shown, file) = (listed.shown_path(), listed.file.clone());
        let reading = match &listed.relative_path {
            Some(path) => self.layout.read_path(path),
            // The ending decides whether it could be a migration.
            None => match self.layout.read_path(&shown) {
                PathReading::Unrelated => PathReading::Unrelated,
                _ => PathReading::Unreadable("is not UTF-8".to_owned()),
            },
        };
        match reading {
            PathReading::Migration(name) => {
                let path = listed.path.clone();
                self.entries.push(NamedFile { path, relative_path: shown, file, name });
            }
            PathReading::Unrelated => {}
            PathReading::LeftOut => {
                let place = if shown.contains('/') { FilePlace::Below } else { FilePlace::Beside };
                self.left_out.push(LeftOutFile { file, place });
            }
            PathReading::Unreadable(reason) => {
                let fault = Fault::new(Code::FileName, format!("the name of `{file}` {reason}"));
                self.faults.push(fault.in_file(FilePosition::of_file(&file)));
                self.unreadable += 1;
            }
        }
    }
}

impl NamedFile {
    pub(super) fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the number as written, if it is a date: 8 digits for a day, 14 with the time of day.
    pub(super) fn date_digits(&self) -> Option<&str> {
        let number = self.file_name().split('_').next()?;
        let is_date = (8..=17).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && (number.starts_with("19") || number.starts_with("20"));
        Some(number).filter(|_| is_date)
    }

    pub(super) fn migration_id(&self, index: usize) -> MigrationId {
        MigrationId {
            index,
            version: self.name.version.clone(),
            name: self.name.name.clone(),
            file: self.file.clone(),
            ..MigrationId::default()
        }
    }

    fn refusal_fault(&self, layout: Layout) -> Option<Fault> {
        let (cause, fix) = layout.refuse_name(&self.name)?;
        let fault = Fault::new(Code::FileName, format!("`{}` {cause}", self.file));
        Some(fault.fix(fix).in_file(FilePosition::of_file(&self.file)))
    }

    /// Reports whether it is a file that applies a migration by SQL.
    pub(super) fn applies_sql(&self) -> bool {
        matches!(self.name.role, FileRole::Whole | FileRole::Up)
    }

    /// Reads the file. `down` is the file that undoes it.
    pub(super) fn load_file(
        &self,
        id: MigrationId,
        (layout, placeholders): (Layout, &Placeholders),
        down: Option<&Self>,
    ) -> Result<LoadedFile, Vec<Fault>> {
        let digest = || layout.start_checksum(&self.name);
        let (mut of_file, mut of_values) = (digest(), digest());
        let filling = Filling { file: &self.file, path: &self.path, layout, placeholders };
        let content = self.parse(filling, |bytes| of_file.update(bytes), |bytes| of_values.update(bytes))?;
        let covers_values = !content.replaced.is_empty() && layout.checksum_covers_values(&self.name.version);
        let checksum = match (of_file.finish(), of_values.finish()) {
            (of_file, of_values) if covers_values => of_values.or_else_matching(&of_file),
            (of_file, _) => of_file,
        };
        let way_back = |of: &Self, sections| WayBack {
            file: of.file.clone(),
            path: of.path.clone(),
            sections,
            placeholders: placeholders.clone(),
        };
        let way_back = match down {
            Some(down) => Some(way_back(down, Vec::new())),
            None if content.downs.is_empty() => None,
            None => Some(way_back(self, content.downs.clone())),
        };
        Ok(LoadedFile { id, content, checksum, way_back, relative_path: self.relative_path.clone() })
    }

    /// Parses the file. `see_bytes` is called with its bytes, `see_filled` with the text in which values have taken the
    /// places of placeholders.
    fn parse(
        &self,
        filling: Filling<'_>,
        mut see_bytes: impl FnMut(&[u8]),
        mut see_filled: impl FnMut(&[u8]),
    ) -> Result<ParsedFile, Vec<Fault>> {
        let layout = filling.layout;
        let fault = |error: io::Error| vec![unreadable(&self.file, &error)];
        let opt_out = find_opt_out(&self.path, layout);
        let is_long = fs::metadata(&self.path).map_err(fault)?.len() > LONG_FILE_BYTES;
        if is_long && !layout.has_sections() && !layout.records_statements() {
            return ParsedFile::from_long_file(&self.path, &self.file, (layout, opt_out), see_bytes);
        }
        let bytes = fs::read(&self.path).map_err(fault)?;
        see_bytes(&bytes);
        let (bytes, replaced) = filling.fill_in(bytes)?;
        see_filled(&bytes);
        ParsedFile::restored(ParsedFile::from_bytes(&self.file, bytes, layout, opt_out), replaced)
    }
}
