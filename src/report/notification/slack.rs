//! The form of Slack's incoming webhooks (Slack, "Block Kit" and "Formatting text for app surfaces"), which Mattermost
//! and Rocket.Chat accept, too.

use super::message::{Fact, NotificationMessage};
use serde_json::{Value, json};

/// Returns the body of the request.
pub(super) fn render(message: &NotificationMessage) -> Value {
    let lines = message.facts().into_iter().map(|Fact { label, text }| format!("*{label}:* {}", escape(&text)));
    let link = message.run_url.as_deref().map(|url| format!("<{}|Open the run>", escape_url(url)));
    let lines: Vec<String> =
        std::iter::once(format!("*{}*", escape(&message.title))).chain(lines).chain(link).collect();
    let blocks = lines.iter().map(|line| json!({ "type": "section", "text": text_object(line) }));
    json!({
        // The text of the phone's notification, and of receivers without blocks.
        "text": escape(&message.title),
        "blocks": blocks.collect::<Vec<_>>(),
        "unfurl_links": false,
    })
}

/// With `verbatim`, Slack makes links neither of names nor of addresses in the text.
fn text_object(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// Escapes the three characters of Slack's control sequences: without them `<!channel>` is a text that notifies nobody.
/// The signs of emphasis and code can't be escaped, so they are replaced by ones that look alike.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '*' => escaped.push('∗'),
            '`' => escaped.push('ˋ'),
            '~' => escaped.push('∼'),
            // A mention that a receiver other than Slack finds in plain text.
            '@' => escaped.push_str("@\u{2060}"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Escapes the characters that end a link.
fn escape_url(url: &str) -> String {
    url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C")
}

#[cfg(test)]
mod tests {
    use super::{super::message::tests, *};

    #[test]
    fn a_name_notifies_nobody() {
        let body = render(&tests::blocked_by("held by <!channel> & <@U123> @here *x* `y`")).to_string();
        let expected = "held by &lt;!channel&gt; &amp; &lt;@\u{2060}U123&gt; @\u{2060}here ∗x∗ ˋyˋ";
        assert!(body.contains(expected), "{body}");
        assert!(!body.contains("<!") && !body.contains("<@"), "{body}");
    }

    #[test]
    fn the_only_control_sequence_is_our_link() {
        let body = render(&tests::failed());
        let blocks = body["blocks"].as_array().unwrap();
        let texts: Vec<&str> = blocks.iter().map(|block| block["text"]["text"].as_str().unwrap()).collect();
        let links: Vec<&&str> = texts.iter().filter(|text| text.contains('<')).collect();
        assert_eq!(links, [&"<https://github.com/owner/name/actions/runs/1/attempts/1|Open the run>"]);
        assert!(texts[0].starts_with("*❌ bastion-migrate · octo/app · prod · Failed"), "{texts:?}");
    }

    #[test]
    fn stays_within_the_limits_of_slack() {
        let body = render(&tests::blocked_by(&"&".repeat(9_000)));
        let blocks = body["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        assert!(blocks.iter().all(|block| block["text"]["text"].as_str().unwrap().chars().count() <= 3_000));
    }
}
