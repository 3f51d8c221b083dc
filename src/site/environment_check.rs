//! Checks whether the environment of a command reaches the program that it starts: a container has an environment of
//! its own.

use crate::{
    fault::{Code, Fault},
    postgres::SettingsDelivery,
};

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

/// A program that does not pass PGOPTIONS on to those that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClosedEnvironment {
    /// Its name.
    pub(crate) program: &'static str,
    /// The option that passes the variable on, if it has one.
    pub(crate) passing_option: Option<&'static str>,
}

/// Returns the program among these commands that does not pass PGOPTIONS on, as far as their text shows.
pub(crate) fn find_closed_environment(commands: &str) -> Option<ClosedEnvironment> {
    let words = || commands.split(|character: char| character.is_whitespace() || ";|&()".contains(character));
    let is_called = |program: &str| words().any(|word| word.rsplit('/').next() == Some(program));
    let elsewhere = SEPARATE_ENVIRONMENTS.iter().find(|(program, _)| is_called(program));
    match (elsewhere, commands.contains("PGOPTIONS")) {
        (Some((program, option)), false) => Some(ClosedEnvironment { program, passing_option: Some(option) }),
        _ => CLOSED_ENVIRONMENTS
            .iter()
            .find(|program| is_called(program) || (program.contains(' ') && commands.contains(*program)))
            .map(|program| ClosedEnvironment { program, passing_option: None }),
    }
}

/// Describes how our settings reach the sessions of these commands, as far as their text shows.
pub(crate) fn pgoptions_delivery(commands: &str) -> String {
    let Some(ClosedEnvironment { program, passing_option }) = find_closed_environment(commands) else {
        return "by PGOPTIONS, unless something on the server overrides it".to_owned();
    };
    let pass_it_on = passing_option.map(|option| format!(" (add `{option}` to pass it on)")).unwrap_or_default();
    format!(
        "by PGOPTIONS, which `{program}` does not pass on: our `lock-timeout` and `statement-timeout` do not apply to \
         what it runs{pass_it_on}"
    )
}

/// Returns the fault of a role that does not reach the sessions of these commands; none if it does, as far as their text
/// shows.
pub(crate) fn undelivered_role_fault(commands: &str, delivery: SettingsDelivery) -> Option<Fault> {
    let cause = "`database-role` does not reach the tool's sessions";
    if delivery == SettingsDelivery::Statements {
        let cause = format!("{cause}: a connection pooler does not pass it on");
        return Some(Fault::new(Code::DatabaseRole, cause).fix(ROLE_BY_APP));
    }
    let ClosedEnvironment { program, passing_option } = find_closed_environment(commands)?;
    let fix = passing_option.map_or_else(
        || ROLE_BY_APP.to_owned(),
        |option| format!("add `{option}` to `{program}` in the command, or {ROLE_BY_APP}"),
    );
    Some(Fault::new(Code::DatabaseRole, format!("{cause}: `{program}` does not pass PGOPTIONS on")).fix(fix))
}

/// The way to a role that works however a tool connects.
const ROLE_BY_APP: &str = "remove `database-role`, and let the database give the role to each log-in: `ALTER ROLE login SET role = 'owner'`, \
    with your names for both";

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

    #[test]
    fn a_role_that_does_not_arrive_is_refused() {
        let fault = |commands, delivery| undelivered_role_fault(commands, delivery);
        assert_eq!(fault("python manage.py migrate", SettingsDelivery::StartupPacket), None);
        assert_eq!(fault("docker exec -e PGOPTIONS app migrate", SettingsDelivery::StartupPacket), None);
        let docker = fault("docker exec app migrate", SettingsDelivery::StartupPacket).unwrap();
        assert_eq!(docker.code, Code::DatabaseRole);
        assert!(docker.fix.starts_with("add `-e PGOPTIONS` to `docker` in the command, or remove"), "{}", docker.fix);
        let pooled = fault("python manage.py migrate", SettingsDelivery::Statements).unwrap();
        assert!(pooled.cause.ends_with("a connection pooler does not pass it on"), "{}", pooled.cause);
    }
}
