//! The expressions of workflows, as far as conditions, names of groups and names of environments use them. Source:
//! GitHub's page "Evaluate expressions in workflows and actions".

use serde_json::Value;

/// The values that an expression can read.
pub(crate) struct Values<'a> {
    /// Returns the value of `inputs.name`, `needs.plan.result` and the like.
    pub(crate) lookup: &'a dyn Fn(&str) -> Value,
    /// Returns the value of `success`, `failure`, `cancelled` and `always`.
    pub(crate) status: &'a dyn Fn(&str) -> bool,
}

/// Replaces every expression in a text. A text that is a single expression keeps its type.
pub(crate) fn interpolate(text: &str, values: &Values<'_>) -> Value {
    let whole = text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    if let Some(expression) = whole.filter(|expression| !expression.contains("}}")) {
        return evaluate(expression, values);
    }
    let mut parts = text.split("${{");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").expect("an expression is closed");
        replaced.push_str(&to_text(&evaluate(expression, values)));
        replaced.push_str(rest);
    }
    Value::String(replaced)
}

/// Evaluates the condition of a job, with the `success()` that GitHub adds.
pub(crate) fn is_met(condition: &str, values: &Values<'_>) -> bool {
    let expression = condition.trim().trim_start_matches("${{").trim_end_matches("}}");
    let names_a_status = ["success()", "failure()", "cancelled()", "always()"];
    let is_complete = names_a_status.iter().any(|name| expression.contains(name));
    is_true(&evaluate(expression, values)) && (is_complete || (values.status)("success"))
}

/// Returns the text of a value, as it stands in a name.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn evaluate(expression: &str, values: &Values<'_>) -> Value {
    let mut parser = Parser { tokens: tokens(expression), next: 0, values };
    let value = parser.either();
    assert_eq!(parser.next, parser.tokens.len(), "not understood: {expression}");
    value
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && !["", "0"].contains(&to_text(value).as_str())
}

/// Splits an expression into names, texts with their opening quote, and operators.
fn tokens(expression: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), expression.trim());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => text_length(rest),
            '=' | '&' | '|' => 2,
            '!' if rest.starts_with("!=") => 2,
            '!' | '(' | ')' | ',' => 1,
            _ => rest.find(|letter: char| !(letter.is_alphanumeric() || "_.-".contains(letter))).unwrap_or(rest.len()),
        };
        assert!(length > 0, "not understood: {rest}");
        let (token, after) = rest.split_at(length);
        found.push(token.to_owned());
        rest = after.trim_start();
    }
    found
}

/// Returns the length of a quoted text; a quote inside of it is doubled.
fn text_length(text: &str) -> usize {
    let mut quotes = text.match_indices('\'').map(|(place, _)| place).skip(1).peekable();
    while let Some(place) = quotes.next() {
        if quotes.next_if_eq(&(place + 1)).is_none() {
            return place + 1;
        }
    }
    panic!("a text is closed: {text}");
}

/// Evaluates while it reads, from the weakest operator to the strongest.
struct Parser<'a> {
    tokens: Vec<String>,
    next: usize,
    values: &'a Values<'a>,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.get(self.next).is_some_and(|next| next == token);
        self.next += usize::from(is_next);
        is_next
    }

    fn either(&mut self) -> Value {
        let mut value = self.both();
        while self.take("||") {
            let other = self.both();
            value = if is_true(&value) { value } else { other };
        }
        value
    }

    fn both(&mut self) -> Value {
        let mut value = self.comparison();
        while self.take("&&") {
            let other = self.comparison();
            value = if is_true(&value) { other } else { value };
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let value = self.term();
        let wanted = if self.take("==") {
            true
        } else if self.take("!=") {
            false
        } else {
            return value;
        };
        let other = self.term();
        Value::Bool(to_text(&value).eq_ignore_ascii_case(&to_text(&other)) == wanted)
    }

    fn term(&mut self) -> Value {
        if self.take("!") {
            return Value::Bool(!is_true(&self.term()));
        }
        if self.take("(") {
            let value = self.either();
            assert!(self.take(")"), "a parenthesis is closed");
            return value;
        }
        let token = self.tokens.get(self.next).expect("an expression has an end").clone();
        self.next += 1;
        if let Some(text) = token.strip_prefix('\'') {
            return Value::String(text.strip_suffix('\'').unwrap_or(text).replace("''", "'"));
        }
        if self.take("(") {
            let arguments = self.arguments();
            return self.call(&token, &arguments);
        }
        match token.as_str() {
            "true" | "false" => Value::Bool(token == "true"),
            number if number.chars().all(|digit| digit.is_ascii_digit()) => Value::String(token),
            name => (self.values.lookup)(name),
        }
    }

    fn arguments(&mut self) -> Vec<Value> {
        let mut arguments = Vec::new();
        while !self.take(")") {
            arguments.push(self.either());
            self.take(",");
        }
        arguments
    }

    fn call(&self, function: &str, arguments: &[Value]) -> Value {
        let text = |place: usize| arguments.get(place).map(to_text).unwrap_or_default();
        match function {
            "success" | "failure" | "cancelled" | "always" => Value::Bool((self.values.status)(function)),
            "fromJSON" => serde_json::from_str(&text(0)).expect("the text is JSON"),
            "format" => {
                let numbered = arguments.iter().skip(1).enumerate();
                let filled = numbered
                    .fold(text(0), |text, (place, value)| text.replace(&format!("{{{place}}}"), &to_text(value)));
                Value::String(filled)
            }
            "contains" => Value::Bool(match arguments.first() {
                Some(Value::Array(items)) => items.iter().any(|item| to_text(item) == text(1)),
                _ => text(0).contains(&text(1)),
            }),
            other => panic!("the function `{other}` is not supported"),
        }
    }
}

#[test]
fn reads_what_conditions_and_names_contain() {
    let lookup = |name: &str| match name {
        "inputs.environment" => "production".into(),
        "inputs.database" => "".into(),
        "needs.plan.outputs.pending-count" => "3".into(),
        other => panic!("{other}"),
    };
    let values = Values { lookup: &lookup, status: &|name| name == "success" };
    for (expression, expected) in [
        ("inputs.environment == 'Production' && !cancelled()", Value::Bool(true)),
        ("inputs.database != '' || inputs.environment", "production".into()),
        ("inputs.database && 'a' || 'it''s'", "it's".into()),
        ("format('{0}-{1}', inputs.environment, 'plan')", "production-plan".into()),
        ("contains(fromJSON('[\"a\", \"b\"]'), 'b')", Value::Bool(true)),
        ("(failure() || success()) && needs.plan.outputs.pending-count != 0", Value::Bool(true)),
    ] {
        assert_eq!(evaluate(expression, &values), expected, "{expression}");
    }
    let name = interpolate("x/${{ inputs.environment }}/${{ inputs.database }}", &values);
    assert_eq!(name, "x/production/");
    assert!(is_met("inputs.environment == 'production'", &values) && !is_met("failure()", &values));
}
