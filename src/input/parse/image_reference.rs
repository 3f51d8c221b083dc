//! Parses the names of images.

use super::value::InvalidValue;
/// Parses the name of an image.
pub(crate) fn parse_image_reference(text: &str) -> Result<String, InvalidValue> {
    let fits = !text.contains(char::is_whitespace) && !text.contains("://") && text == text.trim_matches('/');
    let last = text.rsplit('/').next().unwrap_or(text);
    let name = text.strip_suffix(last).unwrap_or_default().to_owned() + last.split([':', '@']).next().unwrap_or(last);
    if let Some((_, name)) = text.split_once("://").filter(|(_, name)| parse_image_reference(name).is_ok()) {
        return Err(InvalidValue::new("is a URL, not the name of an image", format!("`{name}`")));
    }
    if !fits || text.is_empty() {
        return Err(InvalidValue::new("is not the name of an image", "a name as in ghcr.io/acme/shop:1.4"));
    }
    let path = name.split_once('/').map_or(name.as_str(), |(_, path)| path);
    if path.chars().any(char::is_uppercase) {
        let small = format!("`{}{}`", name.to_lowercase(), text.strip_prefix(&name).unwrap_or_default());
        return Err(InvalidValue::new("has capital letters, which names of images can't have", small));
    }
    if !is_image_reference(text) {
        return Err(InvalidValue::new("is not the name of an image", "a name as in ghcr.io/acme/shop:1.4"));
    }
    Ok(text.to_owned())
}

/// Returns whether an engine accepts the text as an image reference (distribution, `reference/regexp.go`): an optional
/// registry, a path, an optional tag and digest.
fn is_image_reference(text: &str) -> bool {
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" || has_uppercase(first) => {
            (Some(first), path)
        }
        _ => (None, name),
    };
    let ends_well = |part: &str, inner: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric();
        part.starts_with(plain)
            && part.ends_with(plain)
            && part.chars().all(|letter| plain(letter) || inner.contains(letter))
    };
    let is_registry = |registry: &str| {
        let (host, port) = registry.rsplit_once(':').map_or((registry, "0"), |(host, port)| (host, port));
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        (is_address || ends_well(host, ".-")) && !port.is_empty() && port.chars().all(|digit| digit.is_ascii_digit())
    };
    let is_tag = |tag: &str| {
        let begins = tag.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        begins && tag.len() <= 128 && tag.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter))
    };
    let is_digest = |digest: &str| {
        let parts = digest.split_once(':');
        parts.is_some_and(|(kind, hex)| {
            ends_well(kind, "+._-") && !hex.is_empty() && hex.chars().all(|one| one.is_ascii_hexdigit())
        })
    };
    registry.is_none_or(is_registry)
        && path.split('/').all(|part| ends_well(part, "._-"))
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

fn has_uppercase(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_image_references() {
        for right in [
            "app",
            "ghcr.io/acme/shop:1.4",
            "localhost:5000/app@sha256:00",
            "EXAMPLE.com/app:V1",
            "a_b/c.d-e:_1",
            "[::1]:5000/a",
        ] {
            assert_eq!(parse_image_reference(right).as_deref(), Ok(right));
        }
        for wrong in [
            "",
            "two words",
            "https://ghcr.io/acme/shop",
            "ghcr.io/Acme/shop",
            "/app",
            "--privileged",
            "-v",
            "a:",
            "a@",
            "a@sha256",
            "a:b:c",
            "a//b",
            "a;b",
            "$IMAGE",
            "a:-x",
            "ghcr.io:x/a",
            "…",
        ] {
            assert!(parse_image_reference(wrong).is_err(), "{wrong}");
        }
    }
}
