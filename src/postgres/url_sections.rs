//! The sections of a database URL's text. Each keeps its delimiters, so that the sections in their order are the text.

/// The text of a URL, cut at its delimiters; nothing is decoded. It may contain a password, so there is no `Debug`.
#[derive(Clone, Copy)]
pub(super) struct UrlSections<'u> {
    /// The scheme up to `://`, with `jdbc:` and the name of a driver; empty if there is no `://`.
    pub(super) scheme: &'u str,
    /// User and password, with the `@` behind them.
    pub(super) userinfo: &'u str,
    /// Host and port.
    pub(super) server: &'u str,
    /// The database, with the `/` in front of it.
    pub(super) path: &'u str,
    /// The parameters, with the `?` in front of them.
    pub(super) query: &'u str,
}

impl<'u> UrlSections<'u> {
    /// Cuts any text. Where the password contains a delimiter that is not encoded, the sections are wrong; the parser
    /// refuses such a URL.
    pub(super) fn cut(text: &'u str) -> Self {
        const SCHEME_END: &str = "://";
        let (scheme, rest) = text.split_at(text.find(SCHEME_END).map_or(0, |start| start + SCHEME_END.len()));
        let (before_query, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (authority, path) = before_query.split_at(before_query.find('/').unwrap_or(before_query.len()));
        let (userinfo, server) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Self { scheme, userinfo, server, path, query }
    }

    /// Joins the sections.
    pub(super) fn join(self) -> String {
        [self.scheme, self.userinfo, self.server, self.path, self.query].concat()
    }

    /// Returns the part between `://` and `?`.
    pub(super) fn address(self) -> String {
        Self { scheme: "", query: "", ..self }.join()
    }

    /// Returns the undecoded parameters, each with its name.
    pub(super) fn parameters(self) -> impl Iterator<Item = &'u str> {
        self.query.strip_prefix('?').unwrap_or_default().split('&').filter(|pair| !pair.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_sections_are_the_whole_text(text in "(jdbc:)?(postgres://)?[a-c@/?#:&=%é ]{0,30}") {
            prop_assert_eq!(UrlSections::cut(&text).join(), text);
        }
    }

    #[test]
    fn each_section_keeps_its_delimiters() {
        let sections = UrlSections::cut("jdbc:postgresql://u:p@[::1]:6000/db?a=b&&c=d");
        assert_eq!((sections.scheme, sections.userinfo), ("jdbc:postgresql://", "u:p@"));
        assert_eq!((sections.server, sections.path, sections.query), ("[::1]:6000", "/db", "?a=b&&c=d"));
        assert_eq!(sections.parameters().collect::<Vec<_>>(), ["a=b", "c=d"]);
        assert_eq!(sections.address(), "u:p@[::1]:6000/db");
    }
}
