//! Whether what is set in the environment of a command arrives at the program that it starts: a container has an environment of its own.

/// What starts a program in an environment of its own, and what hands one variable on to it.
const ELSEWHERE: [(&str, &str); 6] = [
    ("docker", "-e PGOPTIONS"),
    ("docker-compose", "-e PGOPTIONS"),
    ("podman", "-e PGOPTIONS"),
    ("podman-compose", "-e PGOPTIONS"),
    ("nerdctl", "-e PGOPTIONS"),
    ("sudo", "--preserve-env=PGOPTIONS"),
];

/// What has an environment of its own and takes none of ours.
const SHUT: [&str; 3] = ["kubectl", "ssh", "env -i"];

/// By which way our settings reach the sessions of these commands, as far as their words tell.
pub(crate) fn by_environment(commands: &str) -> String {
    let words = || commands.split(|letter: char| letter.is_whitespace() || ";|&()".contains(letter));
    let is_called = |program: &str| words().any(|word| word.rsplit('/').next() == Some(program));
    let elsewhere = ELSEWHERE.iter().find(|(program, _)| is_called(program));
    match (elsewhere, commands.contains("PGOPTIONS")) {
        (Some((program, hand_on)), false) => format!(
            "by PGOPTIONS, which `{program}` does not hand on: behind it no `lock-timeout` or `statement-timeout` of ours holds \
             (`{hand_on}` there hands it on)"
        ),
        _ => match SHUT
            .iter()
            .find(|program| is_called(program) || (program.contains(' ') && commands.contains(*program)))
        {
            Some(program) => format!(
                "by PGOPTIONS, which `{program}` does not hand on: behind it no `lock-timeout` or `statement-timeout` of ours holds"
            ),
            None => "by PGOPTIONS, if nothing on the server says otherwise".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_container_of_its_own_the_settings_are_not_said_to_hold() {
        for (commands, handed_on) in [
            ("python manage.py migrate", true),
            ("./bin/docker-less migrate", true),
            ("docker compose run --rm web python manage.py migrate", false),
            ("cd app; /usr/bin/docker exec web migrate", false),
            ("docker compose run -e PGOPTIONS --rm web migrate", true),
            ("sudo -u app ./migrate", false),
            ("kubectl exec web -- migrate", false),
            ("env -i ./migrate", false),
        ] {
            assert_eq!(!by_environment(commands).contains("does not hand on"), handed_on, "{commands}");
        }
    }
}
