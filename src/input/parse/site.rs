//! Sites where foreign commands run: a container or the deployment server.

use super::value::Misfit;
use crate::settings::Site;

/// The executor of the migration, or of a single command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executor {
    Sql,
    Image,
    Server,
}

impl Executor {
    /// Returns the name as written in inputs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Image => "image",
            Self::Server => "server",
        }
    }
}

/// Executors of a run, by name.
pub(crate) const EXECUTORS: [(&str, Executor); 3] =
    [("sql", Executor::Sql), ("image", Executor::Image), ("server", Executor::Server)];

/// Executors of a single command, by name.
pub(crate) const SITES: [(&str, Executor); 2] = [("image", Executor::Image), ("server", Executor::Server)];

/// The run's own executor and image, if they are valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) executor: Option<Executor>,
    pub(crate) image: Option<&'a str>,
}

/// The executor and image that a single command asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) executor: Option<Executor>,
    pub(crate) image: Option<String>,
}

impl Wish {
    /// Returns whether neither is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.executor.is_none() && self.image.is_none()
    }

    /// Returns the executor that the command is meant for, even if the combination is invalid.
    pub(crate) fn meant(&self, own: Executor) -> Executor {
        let of_image = self.image.as_ref().map(|_| Executor::Image);
        self.executor.or(of_image).unwrap_or(own)
    }

    /// Returns the site where the command runs; `None` if it depends on a value whose fault is reported elsewhere.
    pub(crate) fn site(&self, own: Own<'_>) -> Result<Option<Site>, Misfit> {
        let Some(executor) = self.executor.or(own.executor) else { return Ok(None) };
        match (executor, self.image.as_deref().or(own.image)) {
            (Executor::Sql, _) => Err(Misfit::new(
                "names no executor, and `executor: sql` runs no commands",
                "add `executor: server` to it, or `executor: image` and `image`",
            )),
            (Executor::Image, Some(image)) => Ok(Some(Site::Image(image.to_owned()))),
            (Executor::Image, None) if own.executor == Some(Executor::Image) => Ok(None),
            (Executor::Image, None) => Err(Misfit::new(
                "runs in an image, and neither it nor the input `image` names one",
                "add `image` to it, or set the input",
            )),
            (Executor::Server, _) if self.image.is_some() => Err(Misfit::new(
                "names an image and runs on the server",
                "remove its `image`, or add `executor: image` to it",
            )),
            (Executor::Server, _) => Ok(Some(Site::Server)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(wish: (Option<Executor>, Option<&str>), own: (Executor, Option<&str>)) -> Result<Option<Site>, Misfit> {
        let wish = Wish { executor: wish.0, image: wish.1.map(ToOwned::to_owned) };
        wish.site(Own { executor: Some(own.0), image: own.1 })
    }

    #[test]
    fn a_command_runs_on_the_site_of_the_migration_unless_it_names_another() {
        let image = |name: &str| Ok(Some(Site::Image(name.to_owned())));
        assert_eq!(site((None, None), (Executor::Image, Some("app"))), image("app"));
        assert_eq!(site((None, Some("cli")), (Executor::Image, Some("app"))), image("cli"));
        assert_eq!(site((Some(Executor::Image), None), (Executor::Server, Some("app"))), image("app"));
        assert_eq!(site((Some(Executor::Image), Some("cli")), (Executor::Sql, None)), image("cli"));
        assert_eq!(site((None, None), (Executor::Server, None)), Ok(Some(Site::Server)));
        assert_eq!(site((Some(Executor::Server), None), (Executor::Image, Some("app"))), Ok(Some(Site::Server)));
    }

    #[test]
    fn a_command_without_a_site_is_rejected() {
        for (wish, own) in [
            ((None, None), (Executor::Sql, Some("app"))),
            ((Some(Executor::Image), None), (Executor::Server, None)),
            ((None, Some("cli")), (Executor::Server, None)),
            ((Some(Executor::Server), Some("cli")), (Executor::Image, Some("app"))),
        ] {
            assert!(site(wish, own).is_err(), "{wish:?} {own:?}");
        }
    }

    #[test]
    fn a_fault_reported_elsewhere_is_not_reported_again() {
        assert_eq!(site((None, None), (Executor::Image, None)), Ok(None));
        assert_eq!(Wish::default().site(Own { executor: None, image: None }), Ok(None));
    }
}
