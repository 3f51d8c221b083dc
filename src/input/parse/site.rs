//! Where commands run that are not ours: in a container, or on the deployment server.

use super::value::Misfit;
use crate::settings::Site;

/// Where the migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executor {
    Sql,
    Image,
    Server,
}

impl Executor {
    /// As written in inputs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Image => "image",
            Self::Server => "server",
        }
    }
}

/// Of the run.
pub(crate) const EXECUTORS: [(&str, Executor); 3] =
    [("sql", Executor::Sql), ("image", Executor::Image), ("server", Executor::Server)];

/// Of a single command.
pub(crate) const SITES: [(&str, Executor); 2] = [("image", Executor::Image), ("server", Executor::Server)];

/// What the run says, as far as it is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) executor: Option<Executor>,
    pub(crate) image: Option<&'a str>,
}

/// What a single command says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) executor: Option<Executor>,
    pub(crate) image: Option<String>,
}

impl Wish {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.executor.is_none() && self.image.is_none()
    }

    /// Where the command is meant to run, right or wrong.
    pub(crate) fn meant(&self, own: Executor) -> Executor {
        let of_image = self.image.as_ref().map(|_| Executor::Image);
        self.executor.or(of_image).unwrap_or(own)
    }

    /// Where the command runs. Nothing if that can't be known because of something that is told elsewhere.
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
    fn a_command_runs_where_the_migration_does_unless_it_says_otherwise() {
        let image = |name: &str| Ok(Some(Site::Image(name.to_owned())));
        assert_eq!(site((None, None), (Executor::Image, Some("app"))), image("app"));
        assert_eq!(site((None, Some("cli")), (Executor::Image, Some("app"))), image("cli"));
        assert_eq!(site((Some(Executor::Image), None), (Executor::Server, Some("app"))), image("app"));
        assert_eq!(site((Some(Executor::Image), Some("cli")), (Executor::Sql, None)), image("cli"));
        assert_eq!(site((None, None), (Executor::Server, None)), Ok(Some(Site::Server)));
        assert_eq!(site((Some(Executor::Server), None), (Executor::Image, Some("app"))), Ok(Some(Site::Server)));
    }

    #[test]
    fn a_command_that_runs_nowhere_is_refused() {
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
    fn what_is_told_elsewhere_is_not_told_again() {
        assert_eq!(site((None, None), (Executor::Image, None)), Ok(None));
        assert_eq!(Wish::default().site(Own { executor: None, image: None }), Ok(None));
    }
}
