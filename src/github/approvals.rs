//! The users who approved the deployment that a run belongs to.

use super::{api_client::ApiClient, runner::Runner};
use crate::secret::Secret;
use http::Method;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Time limit of the request.
const LIMIT: Duration = Duration::from_secs(5);

/// A review of a deployment (REST API, "Get the review history for a workflow run").
#[derive(Debug, Deserialize)]
struct Review {
    state: String,
    user: Reviewer,
}

#[derive(Debug, Deserialize)]
struct Reviewer {
    login: String,
}

/// Returns the users who approved the deployments of this run, separated by commas; `None` if nobody did, or if GitHub
/// does not say so: it needs `actions: read`, which few jobs have, so a failure is no warning.
pub async fn read_approvers(runner: &Runner, token: Option<&Secret>) -> Option<String> {
    let (api, repository, run) = (runner.api_url.as_ref()?, runner.repository.as_ref()?, runner.run_id.as_ref()?);
    let client = ApiClient::new(api, &runner.network, token?).ok()?;
    let url = format!("{}/repos/{repository}/actions/runs/{run}/approvals", api.trim_end_matches('/'));
    let reviews: Vec<Review> = timeout(LIMIT, client.send(&Method::GET, &url, None)).await.ok()?.ok()?;
    approvers_of(reviews)
}

fn approvers_of(reviews: Vec<Review>) -> Option<String> {
    let approved = reviews.into_iter().filter(|review| review.state == "approved");
    let mut logins: Vec<String> = approved.map(|review| review.user.login).collect();
    logins.sort();
    logins.dedup();
    Some(logins.join(", ")).filter(|logins| !logins.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_approved_count_and_each_once() {
        let reviews = r#"[{"state": "approved", "user": {"login": "bob"}}, {"state": "rejected", "user": {"login": "eve"}},
            {"state": "approved", "user": {"login": "alice"}}, {"state": "approved", "user": {"login": "bob"}}]"#;
        assert_eq!(approvers_of(serde_json::from_str(reviews).unwrap()).as_deref(), Some("alice, bob"));
        assert_eq!(approvers_of(Vec::new()), None);
    }
}
