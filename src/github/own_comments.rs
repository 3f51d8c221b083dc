//! The comments of a pull request that the token's own user wrote. Only the GraphQL API knows them: with the REST API a
//! comment of another app, or of a member who copied ours, looks like our own.

use super::{api_client::ApiClient, api_failure::ApiFailure};
use http::Method;
use serde::Deserialize;
use serde_json::json;

/// The query. One request reads both ends of the conversation, however long it is: our comment was written when the pull
/// request was opened, or not long ago. One in the middle of more than 200 stays as it is, with its commit and its time.
const QUERY: &str = "query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      newest: comments(last: 100) { nodes { url body viewerDidAuthor } }
      oldest: comments(first: 100) { nodes { url body viewerDidAuthor } }
    }
  }
}";

/// A comment that the token's own user wrote.
#[derive(Debug)]
pub(super) struct OwnComment {
    /// Its identifier in the REST API, which grows with time.
    pub(super) id: u64,
    body: String,
}

impl OwnComment {
    pub(super) fn first_line(&self) -> &str {
        self.body.lines().next().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct QueryResponse {
    data: QueryData,
}

#[derive(Deserialize)]
struct QueryData {
    repository: QueriedRepository,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueriedRepository {
    pull_request: QueriedConversation,
}

#[derive(Deserialize)]
struct QueriedConversation {
    newest: QueriedComments,
    oldest: QueriedComments,
}

#[derive(Deserialize)]
struct QueriedComments {
    nodes: Vec<Option<QueriedComment>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueriedComment {
    url: String,
    body: String,
    viewer_did_author: bool,
}

/// Lists the own comments of a pull request.
///
/// # Errors
/// The failure of the request.
pub(super) async fn list_own_comments(
    client: &ApiClient,
    graphql_url: &str,
    repository: &str,
    number: u64,
) -> Result<Vec<OwnComment>, ApiFailure> {
    let (owner, name) = repository.split_once('/').unwrap_or_default();
    let variables = json!({ "owner": owner, "name": name, "number": number });
    let query = json!({ "query": QUERY, "variables": variables });
    let response: QueryResponse = client.send(&Method::POST, graphql_url, Some(&query)).await?;
    let QueriedConversation { newest, oldest } = response.data.repository.pull_request;
    let listed = newest.nodes.into_iter().chain(oldest.nodes).flatten().filter(|comment| comment.viewer_did_author);
    // `databaseId` has 32 bits, and the identifiers have outgrown them.
    let with_id = |comment: QueriedComment| {
        let (_, id) = comment.url.rsplit_once("#issuecomment-")?;
        Some(OwnComment { id: id.parse().ok()?, body: comment.body })
    };
    let mut own: Vec<OwnComment> = listed.filter_map(with_id).collect();
    own.sort_by_key(|comment| comment.id);
    own.dedup_by_key(|comment| comment.id);
    Ok(own)
}
