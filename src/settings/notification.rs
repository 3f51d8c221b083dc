//! The settings of notifications: whom to tell, when, and in which form.

use crate::{https::server_of, secret::Secret};
use http::Uri;
use std::{collections::BTreeSet, net::IpAddr};

/// Settings of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationSettings {
    /// The receiver.
    pub webhook: Webhook,
    /// The occasions of a message.
    pub occasions: BTreeSet<Occasion>,
    /// The form of a message.
    pub format: MessageFormat,
}

/// An occasion to send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occasion {
    /// The run has waited long for the work of others, and still does.
    Blocked,
    /// The run failed, or was stopped.
    Failed,
    /// It is unknown whether a migration was committed.
    InDoubt,
    /// Something was applied, rolled back or recorded.
    Succeeded,
}

impl Occasion {
    /// The occasions if none is chosen: those on which a person has to act.
    pub const USUAL: [Self; 3] = [Self::Blocked, Self::Failed, Self::InDoubt];

    /// Returns the name as written in inputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::InDoubt => "in-doubt",
            Self::Succeeded => "succeeded",
        }
    }
}

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// Our own JSON, for a program.
    Json,
    /// A message of Slack, which Mattermost and Rocket.Chat accept, too.
    Slack,
    /// An Adaptive Card for a workflow of Microsoft Teams.
    Teams,
    /// A message of Discord.
    Discord,
}

impl MessageFormat {
    /// Returns the form that the receiver at this URL expects.
    fn guess_from(url: &Uri) -> Self {
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        let is_at = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if is_at("hooks.slack.com") || is_at("hooks.slack-gov.com") {
            Self::Slack
        } else if ["webhook.office.com", "logic.azure.com", "api.powerplatform.com"].into_iter().any(is_at) {
            Self::Teams
        } else if ["discord.com", "discordapp.com"].into_iter().any(is_at) && url.path().starts_with("/api/webhooks/") {
            Self::Discord
        } else {
            Self::Json
        }
    }
}

/// The URL of a receiver. Whoever knows it can write to the channel, so it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    url: Secret,
    server: String,
    usual_format: MessageFormat,
}

impl Webhook {
    /// Parses the URL.
    ///
    /// # Errors
    /// The problem and its fix, without the URL.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        let secret_fix = "copy the whole URL of the webhook into a secret, as in `https://hooks.slack.com/services/…`";
        let url: Uri = text.parse().map_err(|_unreadable| ("is not a URL", secret_fix))?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(("is not a URL with `https://`", secret_fix));
        };
        if authority.as_str().contains('@') {
            return Err(("has a login before the host", "use a webhook whose URL alone is the credential"));
        }
        match scheme {
            "https" => {}
            "http" if is_this_machine(&url) => {}
            "http" => {
                let fix = "use `https://`: with `http://`, which is for this machine only, everybody on the way could read the URL, and use it";
                return Err(("begins with `http://`", fix));
            }
            _ => return Err(("is not a URL with `https://`", secret_fix)),
        }
        let usual_format = MessageFormat::guess_from(&url);
        Ok(Self { url: Secret::new(text), server: server_of(&url), usual_format })
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// Returns the scheme, the host and the port, which may be shown.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns the form that this receiver expects.
    #[must_use]
    pub fn usual_format(&self) -> MessageFormat {
        self.usual_format
    }
}

/// Returns whether the host is this machine: what is sent to it reaches no network.
fn is_this_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tells_the_format() {
        for (url, format) in [
            ("https://hooks.slack.com/services/T0/B0/x", MessageFormat::Slack),
            ("https://HOOKS.slack.com/services/T0/B0/x", MessageFormat::Slack),
            ("https://hooks.slack.com.evil.example/x", MessageFormat::Json),
            ("https://acme.webhook.office.com/webhookb2/x", MessageFormat::Teams),
            ("https://prod-12.westeurope.logic.azure.com:443/workflows/x?sig=y", MessageFormat::Teams),
            ("https://a.12.environment.api.powerplatform.com/powerautomate/x", MessageFormat::Teams),
            ("https://discord.com/api/webhooks/1/x", MessageFormat::Discord),
            ("https://ptb.discord.com/api/webhooks/1/x", MessageFormat::Discord),
            ("https://discord.com/channels/1", MessageFormat::Json),
            ("https://notdiscord.com/api/webhooks/1/x", MessageFormat::Json),
            ("https://chat.example.com/hooks/x", MessageFormat::Json),
        ] {
            assert_eq!(Webhook::parse(url).unwrap().usual_format(), format, "{url}");
        }
    }

    #[test]
    fn plain_text_is_for_this_machine_only() {
        for url in ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x"] {
            assert!(Webhook::parse(url).is_ok(), "{url}");
        }
        for (url, problem) in [
            ("http://hooks.slack.com/services/x", "begins with `http://`"),
            ("http://10.0.0.7/x", "begins with `http://`"),
            ("http://localhost.example.com/x", "begins with `http://`"),
            ("ftp://127.0.0.1/x", "`https://`"),
            ("hooks.slack.com/services/x", "is not a URL"),
            ("/services/x", "is not a URL"),
            ("https://", "is not a URL"),
            ("https://user:password@chat.example.com/x", "a login"),
        ] {
            let (found, _) = Webhook::parse(url).unwrap_err();
            assert!(found.contains(problem), "{url}: {found}");
        }
    }

    #[test]
    fn the_url_is_not_shown() {
        let webhook = Webhook::parse("https://hooks.slack.com:444/services/T0/B0/canary").unwrap();
        assert!(!format!("{webhook:?}").contains("canary"));
        assert_eq!(webhook.server(), "https://hooks.slack.com:444");
    }
}
