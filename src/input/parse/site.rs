//! Sites where foreign commands run: a container or the deployment server.

use super::value::InvalidValue;
use crate::settings::{ImageOwner, Site, SiteImage};

/// The executor of the migration, or of a single command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecutorChoice {
    Sql,
    Image,
    Server,
}

impl ExecutorChoice {
    /// Returns the name as written in inputs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Image => "image",
            Self::Server => "server",
        }
    }
}

/// Executors of a run, by name.
pub(crate) const EXECUTORS: [(&str, ExecutorChoice); 3] =
    [("sql", ExecutorChoice::Sql), ("image", ExecutorChoice::Image), ("server", ExecutorChoice::Server)];

/// Executors of a single command, by name.
pub(crate) const SITES: [(&str, ExecutorChoice); 2] =
    [("image", ExecutorChoice::Image), ("server", ExecutorChoice::Server)];

/// The run's own executor and image, if they are valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunSite<'a> {
    pub(crate) executor: Option<ExecutorChoice>,
    pub(crate) image: Option<&'a str>,
}

impl RunSite<'_> {
    /// Returns the image of a container. A command that names the tool's own image runs in the tool's image, too.
    fn image_of_command(self, reference: &str) -> SiteImage {
        let is_of_tool = self.executor == Some(ExecutorChoice::Image) && self.image == Some(reference);
        let owner = if is_of_tool { ImageOwner::Tool } else { ImageOwner::Step };
        SiteImage { reference: reference.to_owned(), owner }
    }
}

/// The executor and image that a single command asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SiteOverride {
    pub(crate) executor: Option<ExecutorChoice>,
    pub(crate) image: Option<String>,
}

impl SiteOverride {
    /// Returns whether neither is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.executor.is_none() && self.image.is_none()
    }

    /// Returns the executor that the command is meant for, even if the combination is invalid.
    pub(crate) fn intended_executor(&self, default_executor: ExecutorChoice) -> ExecutorChoice {
        let of_image = self.image.as_ref().map(|_| ExecutorChoice::Image);
        self.executor.or(of_image).unwrap_or(default_executor)
    }

    /// Returns the site where the command runs; `None` if it depends on a value whose fault is reported elsewhere.
    pub(crate) fn resolve_site(&self, run_site: RunSite<'_>) -> Result<Option<Site>, InvalidValue> {
        let Some(executor) = self.executor.or(run_site.executor) else { return Ok(None) };
        match (executor, self.image.as_deref().or(run_site.image)) {
            (ExecutorChoice::Sql, _) => Err(InvalidValue::new(
                "names no executor, and `executor: sql` runs no commands",
                "add `executor: server` to it, or `executor: image` and `image`",
            )),
            (ExecutorChoice::Image, Some(image)) => Ok(Some(Site::Image(run_site.image_of_command(image)))),
            (ExecutorChoice::Image, None) if run_site.executor == Some(ExecutorChoice::Image) => Ok(None),
            (ExecutorChoice::Image, None) => Err(InvalidValue::new(
                "runs in an image, and neither it nor the input `image` names one",
                "add `image` to it, or set the input",
            )),
            (ExecutorChoice::Server, _) if self.image.is_some() => Err(InvalidValue::new(
                "names an image and runs on the server",
                "remove its `image`, or add `executor: image` to it",
            )),
            (ExecutorChoice::Server, _) => Ok(Some(Site::Server)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(
        site_override: (Option<ExecutorChoice>, Option<&str>),
        run_site: (ExecutorChoice, Option<&str>),
    ) -> Result<Option<Site>, InvalidValue> {
        let site_override = SiteOverride { executor: site_override.0, image: site_override.1.map(ToOwned::to_owned) };
        site_override.resolve_site(RunSite { executor: Some(run_site.0), image: run_site.1 })
    }

    #[test]
    fn a_command_runs_on_the_site_of_the_migration_unless_it_names_another() {
        let image = |name: &str, owner| Ok(Some(Site::Image(SiteImage { reference: name.to_owned(), owner })));
        let (of_tool, of_step) = (|name| image(name, ImageOwner::Tool), |name| image(name, ImageOwner::Step));
        assert_eq!(site((None, None), (ExecutorChoice::Image, Some("app"))), of_tool("app"));
        assert_eq!(site((None, Some("app")), (ExecutorChoice::Image, Some("app"))), of_tool("app"));
        assert_eq!(site((None, Some("cli")), (ExecutorChoice::Image, Some("app"))), of_step("cli"));
        assert_eq!(site((Some(ExecutorChoice::Image), None), (ExecutorChoice::Server, Some("app"))), of_step("app"));
        assert_eq!(site((Some(ExecutorChoice::Image), None), (ExecutorChoice::Sql, Some("app"))), of_step("app"));
        assert_eq!(site((Some(ExecutorChoice::Image), Some("cli")), (ExecutorChoice::Sql, None)), of_step("cli"));
        assert_eq!(site((None, None), (ExecutorChoice::Server, None)), Ok(Some(Site::Server)));
        assert_eq!(
            site((Some(ExecutorChoice::Server), None), (ExecutorChoice::Image, Some("app"))),
            Ok(Some(Site::Server))
        );
    }

    #[test]
    fn a_command_without_a_site_is_rejected() {
        for (site_override, run_site) in [
            ((None, None), (ExecutorChoice::Sql, Some("app"))),
            ((Some(ExecutorChoice::Image), None), (ExecutorChoice::Server, None)),
            ((None, Some("cli")), (ExecutorChoice::Server, None)),
            ((Some(ExecutorChoice::Server), Some("cli")), (ExecutorChoice::Image, Some("app"))),
        ] {
            assert!(site(site_override, run_site).is_err(), "{site_override:?} {run_site:?}");
        }
    }

    #[test]
    fn a_fault_reported_elsewhere_is_not_reported_again() {
        assert_eq!(site((None, None), (ExecutorChoice::Image, None)), Ok(None));
        assert_eq!(SiteOverride::default().resolve_site(RunSite { executor: None, image: None }), Ok(None));
    }
}
