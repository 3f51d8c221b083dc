//! The stop of the first run, which has no pinned host key: no failure for the reader, but a next step.

use super::{
    fault_section::code_link,
    markdown::{code_html, fenced_block, sentence_with_names},
    run_report::RunReport,
    visible_text::clip_text,
};
use crate::fault::{Code, Fault};

/// Maximum length of a text from the server, in characters.
const MAX_TEXT_LENGTH: usize = 4_000;

/// Returns whether this fault is the expected stop of a first run. A host that has a pin, for another type of key, has a
/// fix of its own.
pub(super) fn is_expected_stop(fault: &Fault) -> bool {
    fault.code == Code::HostKeyUnpinned && fault.fix == fault.code.fix()
}

/// Returns whether the run only waits for a pinned host key. After the plan, an unpinned key is a failure.
pub(super) fn awaits_pin(report: &RunReport) -> bool {
    report.plan.is_none() && report.faults.first().is_some_and(is_expected_stop)
}

/// Returns the command that stores the pin.
pub(super) fn store_command(report: &RunReport) -> String {
    let environment = report.environment.as_deref().map(|name| format!(" --env {}", shell_words::quote(name)));
    format!("gh variable set SSH_KNOWN_HOSTS{}", environment.unwrap_or_default())
}

/// Returns the steps to the pin, as Markdown: compare the key, store the line.
pub(super) fn pin_section(report: &RunReport, fault: &Fault) -> String {
    let clipped = |text: &str| clip_text(text, MAX_TEXT_LENGTH);
    let (line, remarks) = match fault.detail.split_first() {
        Some((line, remarks)) => (line.as_str(), remarks),
        None => ("", &[][..]),
    };
    let remarks = remarks.iter().map(|remark| format!("{}\n\n", sentence_with_names(&clipped(remark))));
    format!(
        "{}: {}. Nothing was changed.\n\n{}\
         1. Compare the fingerprint with the server's own: {} there prints it.\n\
         2. If they are the same, store this line:\n\n{}\n   This command asks for the value; if lines are stored \
         already, enter them as well:\n\n{}\n   If the workflow reads {}, write {}.\n\
         3. Run the job again.\n\n",
        code_link(fault),
        sentence_with_names(&clipped(&fault.cause)),
        remarks.collect::<String>(),
        code_html("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
        indented(&fenced_block(&clipped(line))),
        indented(&fenced_block(&store_command(report))),
        code_html("secrets.SSH_KNOWN_HOSTS"),
        code_html("gh secret set")
    )
}

/// Indents a block, so that it belongs to an item of a list.
fn indented(block: &str) -> String {
    block.lines().map(|line| format!("   {line}\n")).collect()
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
