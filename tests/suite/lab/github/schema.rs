//! The part of GitHub's API descriptions that requests are checked against; `excerpt.py` writes it.

use serde_json::{Map, Value};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("schema.json")).expect("the excerpt is JSON"));

/// Returns the value at a key; `null` if there is none.
fn at<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

/// Returns the reason why GitHub would not understand a request of the REST API; `None` if it would.
pub(crate) fn rest_violation(method: &str, target: &str, body: &str) -> Option<String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let operations = at(&SCHEMA, "rest").as_array().expect("a list of operations");
    let Some(operation) = operations.iter().find(|operation| {
        at(operation, "method") == method && fits_template(path, at(operation, "path").as_str().unwrap_or_default())
    }) else {
        return Some(format!("there is no operation {method} {path}"));
    };
    let known: Vec<&str> = at(operation, "query").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut parameters = query.split('&').filter(|pair| !pair.is_empty());
    if let Some(unknown) = parameters.find(|pair| !known.contains(&pair.split('=').next().unwrap_or_default())) {
        return Some(format!("{method} {path} has no parameter `{unknown}`"));
    }
    match at(operation, "body").as_object() {
        None => (!body.is_empty()).then(|| format!("{method} {path} has no body")),
        Some(fields) => body_violation(fields, body),
    }
}

fn fits_template(path: &str, template: &str) -> bool {
    let (parts, wanted): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
    let fits = |(part, wanted): (&&str, &&str)| match *wanted {
        "{issue_number}" | "{comment_id}" => part.parse::<u64>().is_ok(),
        wanted if wanted.starts_with('{') => !part.is_empty(),
        wanted => *part == wanted,
    };
    parts.len() == wanted.len() && parts.iter().zip(&wanted).all(fits)
}

fn body_violation(fields: &Map<String, Value>, body: &str) -> Option<String> {
    let Ok(Value::Object(given)) = serde_json::from_str(body) else { return Some(format!("`{body}` is no object")) };
    if let Some(unknown) = given.keys().find(|key| !fields.contains_key(*key)) {
        return Some(format!("the body has no field `{unknown}`"));
    }
    fields.iter().find_map(|(name, field)| {
        let fits = match given.get(name) {
            None => at(field, "required") == false,
            Some(value) => at(field, "type") != "str" || value.is_string(),
        };
        (!fits).then(|| format!("the field `{name}` is missing or of another type"))
    })
}

/// Returns the reason why GitHub would not understand a request of the GraphQL API; `None` if it would.
pub(crate) fn graphql_violation(body: &str) -> Option<String> {
    let request: Value = match serde_json::from_str(body) {
        Ok(request) => request,
        Err(error) => return Some(format!("the request is no JSON: {error}")),
    };
    let Some(query) = at(&request, "query").as_str() else { return Some("the request has no query".to_owned()) };
    let tokens = tokens(query);
    let mut reader = QueryReader { tokens: &tokens, variables: Vec::new() };
    reader.read_operation(at(&request, "variables")).err()
}

/// Splits a query into names, numbers and signs. `!` belongs to the type before it.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for letter in query.chars() {
        let is_word = letter.is_alphanumeric() || "_$!".contains(letter);
        match tokens.last_mut().filter(|_| is_word && in_word) {
            Some(word) => word.push(letter),
            None if letter.is_whitespace() || letter == ',' => {}
            None => tokens.push(letter.to_string()),
        }
        in_word = is_word;
    }
    tokens
}

struct QueryReader<'a> {
    tokens: &'a [String],
    variables: Vec<(String, String)>,
}

impl QueryReader<'_> {
    fn next(&mut self) -> Result<String, String> {
        let (first, rest) = self.tokens.split_first().ok_or("the query ends early")?;
        self.tokens = rest;
        Ok(first.clone())
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.tokens.first().is_some_and(|token| token == wanted);
        if found {
            self.tokens = self.tokens.split_first().map(|(_, rest)| rest).unwrap_or_default();
        }
        found
    }

    fn expects(&mut self, wanted: &str) -> Result<(), String> {
        if self.takes(wanted) { Ok(()) } else { Err(format!("`{wanted}` is missing before {:?}", self.tokens.first())) }
    }

    fn read_operation(&mut self, given: &Value) -> Result<(), String> {
        self.expects("query")?;
        self.expects("(")?;
        while !self.takes(")") {
            let name = self.next()?;
            self.expects(":")?;
            let kind = self.next()?;
            let value = at(given, name.trim_start_matches('$'));
            let fits = match kind.as_str() {
                "String!" => value.is_string(),
                "Int!" => value.is_i64() || value.is_u64(),
                other => return Err(format!("a variable of type {other}")),
            };
            if !fits {
                return Err(format!("the variable {name} is {value}, not of type {kind}"));
            }
            self.variables.push((name, kind));
        }
        self.read_selection("Query")?;
        if self.tokens.is_empty() { Ok(()) } else { Err(format!("{:?} after the query", self.tokens)) }
    }

    fn read_selection(&mut self, kind: &str) -> Result<(), String> {
        let fields = at(at(&SCHEMA, "graphql"), kind);
        self.expects("{")?;
        while !self.takes("}") {
            let mut name = self.next()?;
            if self.takes(":") {
                name = self.next()?;
            }
            let field = at(fields, &name);
            let Some(field_type) = at(field, "type").as_str() else {
                return Err(format!("{kind} has no field `{name}`"));
            };
            self.read_arguments(&name, at(field, "args"))?;
            let inner = field_type.trim_matches(|letter| "[]!".contains(letter));
            if at(at(&SCHEMA, "graphql"), inner).is_object() {
                self.read_selection(inner)?;
            }
        }
        Ok(())
    }

    fn read_arguments(&mut self, field: &str, known: &Value) -> Result<(), String> {
        let mut given = Vec::new();
        if self.takes("(") {
            while !self.takes(")") {
                let name = self.next()?;
                self.expects(":")?;
                let value = self.next()?;
                let Some(wanted) = at(known, &name).as_str() else {
                    return Err(format!("`{field}` has no argument {name}"));
                };
                let variable = self.variables.iter().find(|(variable, _)| *variable == value);
                let fits = match variable {
                    Some((_, kind)) => kind.trim_end_matches('!') == wanted.trim_end_matches('!'),
                    None => wanted.starts_with("Int") && value.parse::<u64>().is_ok(),
                };
                if !fits {
                    return Err(format!("`{field}` has {value} for {name}: {wanted}"));
                }
                given.push(name);
            }
        }
        let mut required = known
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, kind)| kind.as_str().is_some_and(|kind| kind.ends_with('!')));
        match required.find(|(name, _)| !given.contains(name)) {
            Some((name, _)) => Err(format!("`{field}` lacks its argument {name}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_what_github_would_not_understand() {
        let comments = "/repos/o/r/issues/7/comments";
        assert_eq!(rest_violation("POST", comments, r#"{"body":"x"}"#), None);
        for (method, path, body) in [
            ("PUT", comments, r#"{"body":"x"}"#),
            ("POST", "/repos/o/r/issues/seven/comments", r#"{"body":"x"}"#),
            ("POST", comments, r#"{"text":"x"}"#),
            ("POST", comments, r#"{"body":7}"#),
            ("POST", comments, ""),
            ("DELETE", "/repos/o/r/issues/comments/7", "x"),
            ("GET", "/repos/o/r/commits/abc/pulls?size=3", ""),
        ] {
            assert!(rest_violation(method, path, body).is_some(), "{method} {path} {body}");
        }
        let variables = json!({"owner": "o", "name": "r", "number": 7});
        let query = |text: &str| graphql_violation(&json!({"query": text, "variables": variables}).to_string());
        let head = "query($owner: String!, $name: String!, $number: Int!)";
        let asked = |selection: &str| {
            query(&format!(
                "{head} {{ repository(owner: $owner, name: $name) {{ pullRequest(number: $number) {{ {selection} }} }} }}"
            ))
        };
        assert_eq!(asked("number some: comments(last: 100) { nodes { body } }"), None);
        for wrong in
            ["title2", "comments(last: $name) { nodes { body } }", "comments(size: 3) { nodes { body } }", "comments"]
        {
            assert!(asked(wrong).is_some(), "{wrong}");
        }
        assert!(query(&format!("{head} {{ repository(owner: $owner) {{ name }} }}")).is_some());
    }
}
