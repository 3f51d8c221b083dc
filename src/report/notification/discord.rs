//! The form of Discord's webhooks (Discord, "Execute Webhook").

use super::message::{Fact, NotificationMessage};
use crate::report::visible_text::clip_text;
use serde_json::{Value, json};

/// Longest content of a message, in UTF-16 code units: Discord's own limit is 2,000 characters.
const MAX_CONTENT: usize = 2_000;

/// Longest text of one fact, in characters; escaped it is at most twice as long.
const MAX_FACT: usize = 140;

/// `SUPPRESS_EMBEDS`: no preview of an address in the text.
const FLAGS: u32 = 1 << 2;

/// Returns the body of the request. `allowed_mentions` is empty, so nobody is notified, whatever the text contains.
pub(super) fn render(message: &NotificationMessage) -> Value {
    let facts = message.facts();
    let lines = facts.iter().map(|Fact { label, text }| format!("**{label}:** {}", escape(&clip_text(text, MAX_FACT))));
    let link = message.run_url.as_deref().map(|url| format!("<{}>", url.replace('<', "%3C").replace('>', "%3E")));
    let title = format!("**{}**", escape(&clip_text(&message.title, MAX_FACT)));
    let mut content = String::new();
    for line in std::iter::once(title).chain(link).chain(lines) {
        // A line that is cut could end within an escape.
        if content.encode_utf16().count() + line.encode_utf16().count() < MAX_CONTENT {
            content.push_str(&line);
            content.push('\n');
        }
    }
    json!({ "content": content.trim_end(), "allowed_mentions": { "parse": [] }, "flags": FLAGS })
}

/// Escapes the signs of Discord's Markdown, of mentions and of links.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if "\\*_~`|<>[]()#@:-".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{super::message::tests, *};

    #[test]
    fn a_name_notifies_nobody() {
        let body = render(&tests::blocked_by("held by @everyone <@&1> **x** [y](https://z)"));
        assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
        let content = body["content"].as_str().unwrap();
        let expected = r"held by \@everyone \<\@&1\> \*\*x\*\* \[y\]\(https\://z\)";
        assert!(content.contains(expected), "{content}");
        assert!(content.contains("<https://github.com/owner/name/actions/runs/1/attempts/1>"), "{content}");
    }

    #[test]
    fn stays_within_the_limit_of_discord() {
        for why in ["*".repeat(9_000), "\u{1f9c0}".repeat(9_000)] {
            let body = render(&tests::blocked_by(&why));
            let content = body["content"].as_str().unwrap();
            assert!(content.encode_utf16().count() <= MAX_CONTENT && content.contains("In the way"), "{content}");
        }
    }
}
