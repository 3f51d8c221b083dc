//! Our own form of a notification, for a program. `docs/notifications.md` describes it.

use super::message::NotificationMessage;
use serde_json::{Value, json};

/// Version of the form: a change of a key that exists is a new version, a new key is not.
const VERSION: u32 = 1;

/// Returns the body of the request.
pub(super) fn render(message: &NotificationMessage) -> Value {
    json!({
        "version": VERSION,
        "event": message.occasion.name(),
        "text": message.title,
        "outcome": message.outcome,
        "command": message.command,
        "repository": message.repository,
        "environment": message.environment,
        "database": message.database,
        "done-count": message.done,
        "pending-count": message.pending,
        "fault": message.fault,
        "wait": message.wait,
        "run-url": message.run_url,
        "duration-ms": message.duration_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::message::tests, *};

    #[test]
    fn has_every_key_in_every_message() {
        let (failed, blocked) = (render(&tests::failed()), render(&tests::blocked_by("held by pid 7")));
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&failed), keys(&blocked));
        assert_eq!(failed["version"], 1);
        assert_eq!((&failed["event"], &failed["outcome"]), (&json!("failed"), &json!("failed")));
        assert_eq!(failed["fault"]["code"], "statement-failed");
        assert_eq!(failed["database"]["name"], "shop");
        assert_eq!(failed["wait"], Value::Null);
        assert_eq!((&blocked["event"], &blocked["outcome"]), (&json!("blocked"), &Value::Null));
        assert_eq!(blocked["wait"], json!({ "what": "the run lock", "why": "held by pid 7", "seconds": 61 }));
    }

    #[test]
    fn the_page_lists_every_key() {
        let page = include_str!("../../../docs/notifications.md");
        for key in render(&tests::failed()).as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{key}` |")), "{key}");
        }
    }
}
