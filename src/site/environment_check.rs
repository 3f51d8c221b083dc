//! Checks whether the environment of a command reaches the program that it starts: a container has an environment of
//! its own.

/// Programs that run others in a separate environment, each with the option that passes one variable on.
const SEPARATE_ENVIRONMENTS: [(&str, &str); 6] = [
    ("docker", "-e PGOPTIONS"),
    ("docker-compose", "-e PGOPTIONS"),
    ("podman", "-e PGOPTIONS"),
    ("podman-compose", "-e PGOPTIONS"),
    ("nerdctl", "-e PGOPTIONS"),
    ("sudo", "--preserve-env=PGOPTIONS"),
];

/// Programs with a separate environment that take no variable of ours.
const CLOSED_ENVIRONMENTS: [&str; 3] = ["kubectl", "ssh", "env -i"];

/// Describes how our settings reach the sessions of these commands, as far as their text shows.
pub(crate) fn pgoptions_delivery(commands: &str) -> String {
    let words = || commands.split(|character: char| character.is_whitespace() || ";|&()".contains(character));
    let is_called = |program: &str| words().any(|word| word.rsplit('/').next() == Some(program));
    let elsewhere = SEPARATE_ENVIRONMENTS.iter().find(|(program, _)| is_called(program));
    match (elsewhere, commands.contains("PGOPTIONS")) {
        (Some((program, passing_fix)), false) => format!(
            "by PGOPTIONS, which `{program}` does not pass on: our `lock-timeout` and `statement-timeout` do not \
             apply to what it runs (add `{passing_fix}` to pass it on)"
        ),
        _ => match CLOSED_ENVIRONMENTS
            .iter()
            .find(|program| is_called(program) || (program.contains(' ') && commands.contains(*program)))
        {
            Some(program) => format!(
                "by PGOPTIONS, which `{program}` does not pass on: our `lock-timeout` and `statement-timeout` do not \
                 apply to what it runs"
            ),
            None => "by PGOPTIONS, unless something on the server overrides it".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_not_reported_as_delivered_into_a_separate_environment() {
        for (commands, is_passed_on) in [
            ("python manage.py migrate", true),
            ("./bin/docker-less migrate", true),
            ("docker compose run --rm web python manage.py migrate", false),
            ("cd app; /usr/bin/docker exec web migrate", false),
            ("docker compose run -e PGOPTIONS --rm web migrate", true),
            ("sudo -u app ./migrate", false),
            ("kubectl exec web -- migrate", false),
            ("env -i ./migrate", false),
        ] {
            assert_eq!(!pgoptions_delivery(commands).contains("does not pass on"), is_passed_on, "{commands}");
        }
    }
}
