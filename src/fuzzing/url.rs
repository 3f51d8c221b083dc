//! Properties of every database URL.

use crate::{postgres::DatabaseUrl, secret::Secret};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const PASSWORD: &str = "hunter2";

/// Parses a URL: the password that is found is one of those that are masked.
pub(super) fn check_masking(url: &str) {
    let url = Secret::new(url);
    let masked = DatabaseUrl::possible_passwords(&url);
    if let Some(password) = DatabaseUrl::parse(&url).ok().and_then(|url| url.parsed().password.clone()) {
        assert!(masked.contains(&password), "{:?} of {:?} is not masked", password.expose(), url.expose());
    }
}

/// Parses URLs that contain a password: no fault and no note repeats it.
pub(super) fn check_password_hidden(user: &str, before: &str, after: &str, rest: &str) {
    // A name that happens to be the password may be shown.
    if [user, rest].iter().any(|text| text.contains(PASSWORD)) {
        return;
    }
    let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
    let password = format!("{before}{PASSWORD}{after}");
    // An `@` with a host would start the parameters, whose names may be shown.
    let no_host = password.replace('@', "");
    for url in [
        format!("postgres://{user}:{password}@{rest}"),
        format!("postgres://{user}:{no_host}{rest}"),
        format!("jdbc:postgresql://{user}/?password={password}&{rest}"),
        format!("postgresql://{user}?password={password}{rest}"),
    ] {
        let told = match DatabaseUrl::parse(&Secret::new(url.as_str())) {
            Ok(url) => url.parsed().notes.concat(),
            Err(fault) => format!("{fault:?}"),
        };
        assert!(!told.contains(PASSWORD), "{url:?}: {told}");
    }
}

/// Writes URLs with these texts encoded, and parses them back.
pub(super) fn check_round_trip(user: &str, password: &str, name: &str) {
    if [user, password, name].iter().any(|text| text.contains('\0')) {
        return;
    }
    let [user_part, password_part, name_part] =
        [user, password, name].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let expected = (some(user), some(password).map(Secret::new), some(name), some("h"));
    for url in [
        format!("postgres://{user_part}:{password_part}@h:5432/{name_part}"),
        format!("postgres://h?user={user_part}&password={password_part}&dbname={name_part}"),
        format!("jdbc:postgresql://h/{name_part}?user={user_part}&password={password_part}"),
    ] {
        let parsed = DatabaseUrl::parse(&Secret::new(url.as_str()))
            .unwrap_or_else(|fault| panic!("{url:?}: {fault:?}"))
            .parsed()
            .clone();
        assert_eq!((parsed.user, parsed.password, parsed.name, parsed.host), expected, "{url:?}");
        check_masking(&url);
    }
}
