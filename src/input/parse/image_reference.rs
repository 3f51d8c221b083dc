//! Parses the names of images.

use super::value::InvalidValue;

/// Parses the name of an image.
pub(crate) fn parse_image_reference(text: &str) -> Result<String, InvalidValue> {
    let is_well_formed = !text.contains(char::is_whitespace) && !text.contains("://") && text == text.trim_matches('/');
    let last_component = text.rsplit('/').next().unwrap_or(text);
    let name = text.strip_suffix(last_component).unwrap_or_default().to_owned()
        + last_component.split([':', '@']).next().unwrap_or(last_component);
    if let Some((_, name)) = text.split_once("://").filter(|(_, name)| parse_image_reference(name).is_ok()) {
        return Err(InvalidValue::new("is a URL, not the name of an image", format!("`{name}`")));
    }
    if !is_well_formed || text.is_empty() {
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
    let (name_and_tag, digest) =
        text.split_once('@').map_or((text, None), |(name_and_tag, digest)| (name_and_tag, Some(digest)));
    let (name, tag) = match name_and_tag.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name_and_tag, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" || has_uppercase(first) => {
            (Some(first), path)
        }
        _ => (None, name),
    };
    let is_component = |part: &str, inner_characters: &str| {
        let is_alphanumeric = |character: char| character.is_ascii_alphanumeric();
        part.starts_with(is_alphanumeric)
            && part.ends_with(is_alphanumeric)
            && part.chars().all(|character| is_alphanumeric(character) || inner_characters.contains(character))
    };
    let is_registry = |registry: &str| {
        let (host, port) = registry.rsplit_once(':').map_or((registry, "0"), |(host, port)| (host, port));
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        (is_address || is_component(host, ".-")) && !port.is_empty() && port.chars().all(|digit| digit.is_ascii_digit())
    };
    let is_tag = |tag: &str| {
        let begins_well = tag.starts_with(|character: char| character.is_ascii_alphanumeric() || character == '_');
        begins_well
            && tag.len() <= 128
            && tag.chars().all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
    };
    let is_digest = |digest: &str| {
        let parts = digest.split_once(':');
        parts.is_some_and(|(kind, hex)| {
            is_component(kind, "+._-") && !hex.is_empty() && hex.chars().all(|hex_digit| hex_digit.is_ascii_hexdigit())
        })
    };
    registry.is_none_or(is_registry)
        && path.split('/').all(|part| is_component(part, "._-"))
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
        for invalid in [
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
            assert!(parse_image_reference(invalid).is_err(), "{invalid}");
        }
    }
}
