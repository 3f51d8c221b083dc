//! Paths of a file on the host and in the container. Source: `ContainerInfo.cs`.

use std::path::{Path, PathBuf};

/// Mount of `RUNNER_TEMP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temp {
    /// Mounted, as since release 2.332.
    Mounted,
    /// Not mounted, as by older runners of GitHub Enterprise Server: the container has no such path.
    Absent,
}

/// Host directories and their mount points, in the order in which they are searched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    mounts: Vec<(String, &'static str)>,
    workspace: PathBuf,
}

impl Paths {
    /// Returns the mounts of an action's container for this working directory.
    pub(crate) fn of(work: &Path, repository: &str, temp: Temp) -> Self {
        let (directory, workspace) = (work.join("_temp"), work.join(repository).join(repository));
        let mut mounts = vec![
            (workspace.clone(), "/github/workspace"),
            (directory.join("_runner_file_commands"), "/github/file_commands"),
            (directory.join("_github_workflow"), "/github/workflow"),
            (directory.join("_github_home"), "/github/home"),
        ];
        if temp == Temp::Mounted {
            mounts.push((directory, "/github/runner_temp"));
        }
        Self {
            mounts: mounts.into_iter().map(|(host, inside)| (host.display().to_string(), inside)).collect(),
            workspace,
        }
    }

    /// Translates a value of the environment for the container: only a prefix of the whole value is replaced, and only
    /// by the first mount that fits.
    pub(crate) fn to_container(&self, value: &str) -> String {
        let inside = self.mounts.iter().find_map(|(host, inside)| moved(value, host, inside));
        inside.unwrap_or_else(|| value.to_owned())
    }

    /// Translates a value back.
    pub(crate) fn to_host(&self, value: &str) -> String {
        let outside = self.mounts.iter().find_map(|(host, inside)| moved(value, inside, host));
        outside.unwrap_or_else(|| value.to_owned())
    }

    /// Returns the file of an annotation, relative to the workspace if it is inside.
    pub(super) fn in_repository(&self, file: &str) -> String {
        let host = self.to_host(file);
        let inside = Path::new(&host).strip_prefix(&self.workspace).ok().filter(|_| host.starts_with('/'));
        inside.map_or_else(|| host.clone(), |inside| inside.display().to_string())
    }
}

fn moved(value: &str, from: &str, to: &str) -> Option<String> {
    let rest = value.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(temp: Temp) -> Paths {
        Paths::of(Path::new("/w"), "r", temp)
    }

    #[test]
    fn a_value_that_begins_with_a_mounted_directory_is_translated() {
        for (host, inside) in [
            ("/w/r/r", "/github/workspace"),
            ("/w/r/r/db/x.sql", "/github/workspace/db/x.sql"),
            ("/w/_temp/_github_home", "/github/home"),
            ("/w/_temp/_github_workflow/event.json", "/github/workflow/event.json"),
            ("/w/_temp/_runner_file_commands/set_output_1", "/github/file_commands/set_output_1"),
            ("/w/_temp", "/github/runner_temp"),
            ("/w/_temp/x", "/github/runner_temp/x"),
        ] {
            assert_eq!(paths(Temp::Mounted).to_container(host), inside);
            assert_eq!(paths(Temp::Mounted).to_host(inside), host);
        }
    }

    #[test]
    fn any_other_value_is_unchanged() {
        for value in ["/w/r", "/w/r/rest", "file:///w/r/r/x", "a=/w/r/r", "p:/w/r/r", " /w/r/r", "", "/W/r/r"] {
            assert_eq!(paths(Temp::Mounted).to_container(value), value);
        }
        assert_eq!(paths(Temp::Mounted).to_container("/w/r/r/a\n/w/r/r/b"), "/github/workspace/a\n/w/r/r/b");
        assert_eq!(paths(Temp::Absent).to_container("/w/_temp"), "/w/_temp", "an old runner does not mount it");
    }

    #[test]
    fn the_file_of_an_annotation_is_relative_to_the_repository() {
        assert_eq!(paths(Temp::Mounted).in_repository("/github/workspace/db/1.sql"), "db/1.sql");
        assert_eq!(paths(Temp::Mounted).in_repository("db/1.sql"), "db/1.sql");
        assert_eq!(paths(Temp::Mounted).in_repository("/opt/1.sql"), "/opt/1.sql");
    }
}
