//! The section of the summary about a host key that is to be pinned: the key, the line to store, the command for it.

use super::{
    fault_section::code_link,
    first_run::store_command,
    markdown::{code_html, fenced_block, sentence_with_names},
    run_report::RunReport,
    visible_text::clip_text,
};
use crate::fault::Fault;

/// Maximum length of a text from the server, in characters.
const MAX_TEXT_LENGTH: usize = 4_000;

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
         already, enter them as well:\n\n{}\n   Use the name and the environment that the workflow reads; for {}, write {}.\n\
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
