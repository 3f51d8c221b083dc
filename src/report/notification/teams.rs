//! The form of a Microsoft Teams workflow "when a webhook request is received": a message with one Adaptive Card.

use super::message::{Fact, NotificationMessage};
use serde_json::{Value, json};

/// The version that the clients of Teams show, those on phones included (Microsoft, "Adaptive Cards for bots").
const CARD_VERSION: &str = "1.4";

/// Returns the body of the request.
pub(super) fn render(message: &NotificationMessage) -> Value {
    let title = paragraph(&[json!({ "type": "TextRun", "text": message.title, "weight": "bolder" })]);
    let facts = message.facts().into_iter().map(|Fact { label, text }| {
        paragraph(&[
            json!({ "type": "TextRun", "text": format!("{label}: "), "weight": "bolder" }),
            json!({ "type": "TextRun", "text": text }),
        ])
    });
    let open = |url: &String| json!({ "type": "Action.OpenUrl", "title": "Open the run", "url": url });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": CARD_VERSION,
                "body": std::iter::once(title).chain(facts).collect::<Vec<_>>(),
                "actions": message.run_url.iter().map(open).collect::<Vec<_>>(),
            },
        }],
    })
}

/// Returns a paragraph. The runs of a `RichTextBlock` are plain text; a `TextBlock` would be Markdown.
fn paragraph(runs: &[Value]) -> Value {
    json!({ "type": "RichTextBlock", "inlines": runs })
}

#[cfg(test)]
mod tests {
    use super::{super::message::tests, *};

    #[test]
    fn is_a_card_of_plain_text() {
        let body = render(&tests::blocked_by("held by **x** [y](https://z) <at>all</at>"));
        let card = &body["attachments"][0]["content"];
        assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
        let paragraphs = card["body"].as_array().unwrap();
        assert!(paragraphs.iter().all(|paragraph| paragraph["type"] == "RichTextBlock"), "{paragraphs:#?}");
        assert_eq!(paragraphs[1]["inlines"][1]["text"], "held by **x** [y](https://z) <at>all</at>");
        assert_eq!(card["actions"][0]["url"], "https://github.com/owner/name/actions/runs/1/attempts/1");
        assert_eq!(card.get("msteams"), None, "only an entity there can notify somebody");
    }

    #[test]
    fn stays_within_the_limit_of_teams() {
        // 28 kB for a message of a webhook (Microsoft, "Rate limiting and limits of webhooks").
        assert!(render(&tests::blocked_by(&"\u{1f9c0}".repeat(9_000))).to_string().len() < 28_000);
    }
}
