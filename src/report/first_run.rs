//! The stop of the first run, which has no pinned host key: no failure for the reader, but a next step.

use super::run_report::RunReport;
use crate::fault::{Code, Fault};

/// Returns whether this fault is the expected stop of a first run. A host that has a pin, for another type of key, has a
/// fix of its own.
pub(super) fn is_expected_stop(fault: &Fault) -> bool {
    fault.code == Code::HostKeyUnpinned && fault.fix == fault.code.fix()
}

/// Returns whether the run only waits for a pinned host key. After the plan, an unpinned key is a failure.
pub(super) fn awaits_pin(report: &RunReport) -> bool {
    report.plan.is_none() && report.faults.first().is_some_and(is_expected_stop)
}

/// Returns the command that stores the pin. A name with a prefix names the environment already, and the job's own
/// `environment:` may be called otherwise: the repository's variable is read in every job.
pub(super) fn store_command(report: &RunReport) -> String {
    if let Some(name) = &report.pin_variable {
        return format!("gh variable set {name}");
    }
    let environment = report.environment.as_deref().map(|name| format!(" --env {}", shell_words::quote(name)));
    format!("gh variable set SSH_KNOWN_HOSTS{}", environment.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::run::event::Event;

    #[test]
    fn the_command_names_the_environment_and_quotes_it() {
        let mut report = sample::report_of(&sample::unpinned_events());
        assert_eq!(store_command(&report), "gh variable set SSH_KNOWN_HOSTS --env prod");
        report.environment = Some("eu prod".to_owned());
        assert_eq!(store_command(&report), "gh variable set SSH_KNOWN_HOSTS --env 'eu prod'");
        report.environment = None;
        assert_eq!(store_command(&report), "gh variable set SSH_KNOWN_HOSTS");
        report.environment = Some("dev".to_owned());
        report.pin_variable = Some("DEV_SSH_KNOWN_HOSTS".to_owned());
        assert_eq!(store_command(&report), "gh variable set DEV_SSH_KNOWN_HOSTS");
    }

    #[test]
    fn a_host_with_a_pin_for_another_type_of_key_is_a_failure() {
        let fault = Fault::new(Code::HostKeyUnpinned, "x").fix("find out why");
        assert!(!awaits_pin(&sample::report_of(&vec![(0, Event::Fault(fault))])));
    }

    #[test]
    fn an_unpinned_key_in_the_middle_of_a_run_is_a_failure() {
        let mut events = sample::events_until_migration();
        events.push((330, Event::Fault(Fault::new(Code::HostKeyUnpinned, "x"))));
        assert!(!awaits_pin(&sample::report_of(&events)));
        assert!(awaits_pin(&sample::report_of(&sample::unpinned_events())));
    }
}
