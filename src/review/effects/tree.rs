//! Reading the nodes of squawk's syntax tree.

use crate::sql::{QualifiedName, fold_identifier};
use squawk_syntax::SyntaxToken;
pub(super) use squawk_syntax::{SyntaxKind, SyntaxNode};

/// Returns the first child of this kind.
pub(super) fn find_child(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// Returns the node of this kind that comes first in the text of a node, itself included.
pub(super) fn find_within(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.descendants().find(|found| found.kind() == kind)
}

/// Returns all nodes of this kind in a node, itself included.
pub(super) fn all_within(node: &SyntaxNode, kind: SyntaxKind) -> impl Iterator<Item = SyntaxNode> + use<> {
    node.descendants().filter(move |found| found.kind() == kind)
}

/// Returns whether a child or a token of this kind is directly in the node.
pub(super) fn has_child(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.children_with_tokens().any(|child| child.kind() == kind)
}

/// Returns whether a node or a token of this kind is anywhere in the node.
pub(super) fn has_within(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.descendants_with_tokens().any(|found| found.kind() == kind)
}

/// Returns the tokens of a node, without white space and comments.
pub(super) fn significant_tokens(node: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> + use<> {
    node.descendants_with_tokens()
        .filter_map(squawk_syntax::SyntaxElement::into_token)
        .filter(|token| !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT))
}

/// Returns the text of a node without comments, its words separated by single spaces, in lower case unless quoted.
pub(super) fn plain_text(node: &SyntaxNode) -> String {
    let words: Vec<_> =
        significant_tokens(node)
            .map(|token| {
                if token.text().starts_with('"') { token.text().to_owned() } else { token.text().to_ascii_lowercase() }
            })
            .collect();
    words.join(" ")
}

/// Returns the parts of the first path in a node, unquoted. `None` if there is no path, or a part can't be read, as one
/// with Unicode escapes.
pub(super) fn read_parts(node: &SyntaxNode) -> Option<Vec<String>> {
    let path = node.descendants().find(|found| matches!(found.kind(), SyntaxKind::PATH | SyntaxKind::PATH_REF));
    let parts: Option<Vec<_>> = significant_tokens(&path.unwrap_or_else(|| node.clone()))
        .filter(|token| token.kind() != SyntaxKind::DOT)
        .map(|token| fold_identifier(token.text()))
        .collect();
    parts.filter(|parts| !parts.is_empty())
}

/// Returns the last two parts of a path: a database before them is the connected one.
pub(super) fn join_parts(mut parts: Vec<String>) -> Option<QualifiedName> {
    let name = parts.pop()?;
    Some(QualifiedName { schema: parts.pop(), name })
}

/// Returns a name without a schema: that of a column, a constraint or a schema.
pub(super) fn read_identifier(node: &SyntaxNode) -> Option<String> {
    read_parts(node)?.pop()
}
