//! Placeholders for the database's connection data in a text, such as `${DATABASE_HOST}`.

/// A part of the database's connection data that a text can contain as a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabasePlaceholder {
    /// The whole URL.
    Url,
    /// The part of a URL between `://` and `?`: `user:password@host:port/database`, percent-encoded.
    Address,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The role.
    User,
    /// The role's password.
    Password,
    /// The database's name.
    Name,
    /// The TLS mode.
    Sslmode,
}

impl DatabasePlaceholder {
    /// Every placeholder, with its name in a text and libpq's name for it.
    pub const ALL: [(Self, &'static str, Option<&'static str>); 8] = [
        (Self::Url, "DATABASE_URL", None),
        (Self::Address, "DATABASE_ADDRESS", None),
        (Self::Host, "DATABASE_HOST", Some("PGHOST")),
        (Self::Port, "DATABASE_PORT", Some("PGPORT")),
        (Self::User, "DATABASE_USER", Some("PGUSER")),
        (Self::Password, "DATABASE_PASSWORD", Some("PGPASSWORD")),
        (Self::Name, "DATABASE_NAME", Some("PGDATABASE")),
        (Self::Sslmode, "DATABASE_SSLMODE", Some("PGSSLMODE")),
    ];

    /// Returns the placeholders in a text.
    #[must_use]
    pub fn find_all(text: &str) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|(_, name, _)| text.contains(&in_braces(name)))
            .map(|(placeholder, ..)| placeholder)
            .collect()
    }

    /// Returns the placeholder as it is written in a text.
    #[must_use]
    pub fn braced_name(self) -> String {
        let entry = Self::ALL.into_iter().find(|(placeholder, ..)| *placeholder == self);
        in_braces(entry.map(|(_, name, _)| name).unwrap_or_default())
    }

    /// Finds a shell variable that nothing will expand, with the placeholder to use instead, or a placeholder that
    /// does not exist. In a text with blanks, known variables are accepted, because a shell may expand them.
    #[must_use]
    pub fn find_mistake(text: &str) -> Option<(String, Option<Self>)> {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('$') {
            rest = after;
            let (name, braced) = match after.strip_prefix('{') {
                Some(inner) => (inner.split_once('}').map_or("", |(name, _)| name), true),
                None => (leading_name(after), false),
            };
            let entry = Self::ALL.into_iter().find(|(_, full_name, libpq)| *full_name == name || *libpq == Some(name));
            match entry {
                Some((_, full_name, _)) if braced && full_name == name => {}
                Some(_) if text.contains(char::is_whitespace) => {}
                Some((placeholder, ..)) => return Some((as_found(name, braced), Some(placeholder))),
                None if braced && name.starts_with("DATABASE_") => return Some((as_found(name, braced), None)),
                None => {}
            }
        }
        None
    }

    /// Replaces each placeholder in the text with its value.
    #[must_use]
    pub fn fill_in(text: &str, value_of: impl Fn(Self) -> String) -> String {
        // One pass: inserted values are not searched again.
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, rest_of_text)) = rest.split_once("${") {
            filled.push_str(before);
            let named = rest_of_text.split_once('}').and_then(|(name, after)| {
                let (placeholder, ..) = Self::ALL.into_iter().find(|(_, full_name, _)| *full_name == name)?;
                Some((placeholder, after))
            });
            rest = match named {
                Some((placeholder, after)) => {
                    filled.push_str(&value_of(placeholder));
                    after
                }
                None => {
                    filled.push_str("${");
                    rest_of_text
                }
            };
        }
        filled + rest
    }
}

fn in_braces(name: &str) -> String {
    format!("${{{name}}}")
}

fn as_found(name: &str, braced: bool) -> String {
    if braced { in_braces(name) } else { format!("${name}") }
}

fn leading_name(text: &str) -> &str {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split_once(|letter: char| !plain(letter)).map_or(text, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_each_placeholder_once() {
        let value_of = |placeholder: DatabasePlaceholder| match placeholder {
            DatabasePlaceholder::Host => "db".to_owned(),
            DatabasePlaceholder::Password => "${DATABASE_HOST}".to_owned(),
            other => format!("<{other:?}>"),
        };
        for (text, filled) in [
            ("${DATABASE_HOST}:${DATABASE_PORT}", "db:<Port>"),
            ("x${DATABASE_PASSWORD}y", "x${DATABASE_HOST}y"),
            ("${OTHER} ${ $DATABASE_HOST", "${OTHER} ${ $DATABASE_HOST"),
            ("", ""),
        ] {
            assert_eq!(DatabasePlaceholder::fill_in(text, value_of), filled, "{text}");
        }
        assert_eq!(
            DatabasePlaceholder::find_all("${DATABASE_HOST} ${DATABASE_NAME}"),
            [DatabasePlaceholder::Host, DatabasePlaceholder::Name]
        );
        assert_eq!(DatabasePlaceholder::Sslmode.braced_name(), "${DATABASE_SSLMODE}");
    }

    #[test]
    fn finds_variables_that_nothing_expands_and_no_others() {
        for (text, found, right) in [
            ("$PGHOST", "$PGHOST", Some(DatabasePlaceholder::Host)),
            ("postgres://${PGUSER}@x", "${PGUSER}", Some(DatabasePlaceholder::User)),
            ("$DATABASE_URL", "$DATABASE_URL", Some(DatabasePlaceholder::Url)),
            ("${DATABASE_HOST}$DATABASE_PORT", "$DATABASE_PORT", Some(DatabasePlaceholder::Port)),
            ("${DATABASE_HOTS}", "${DATABASE_HOTS}", None),
        ] {
            assert_eq!(DatabasePlaceholder::find_mistake(text), Some((found.to_owned(), right)), "{text}");
        }
        for text in [
            "",
            "pa$$word",
            "$PGHOSTNAME",
            "${DATABASE_HOST}",
            "${OTHER}",
            "$",
            "${",
            "$HOME",
            "psql \"$DATABASE_URL\"",
        ] {
            assert_eq!(DatabasePlaceholder::find_mistake(text), None, "{text}");
        }
    }
}
