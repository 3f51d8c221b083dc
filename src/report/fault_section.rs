//! A fault in the summary: cause, file with line and caret, fix.

use super::{
    log_lines,
    markdown::{code_html, fenced_block, sentence_with_names},
    run_report::RunReport,
    source_links::linked_place,
    visible_text::clip_text,
};
use crate::fault::Fault;

/// Maximum length of an untrusted text, in characters, so that one message can't displace everything else.
const MAX_TEXT_LENGTH: usize = 4_000;

/// Maximum number of lines between a cause and its fix; more are folded behind the fix.
const MAX_OPEN_LINES: usize = 12;

/// Returns the fault as Markdown.
pub(super) fn fault_section(report: &RunReport, fault: &Fault) -> String {
    let cause = sentence_with_names(&clip_text(&fault.cause, MAX_TEXT_LENGTH));
    let mut parts = vec![format!("{} in stage {}: {cause}\n\n", code_link(fault), fault.stage)];
    let place = fault.place.iter().map(|place| linked_place(report, place));
    let facts: Vec<String> =
        place.chain(fault.sqlstate.iter().map(|sqlstate| format!("SQLSTATE {}", code_html(sqlstate)))).collect();
    if !facts.is_empty() {
        parts.push(format!("{}\n\n", facts.join(" · ")));
    }
    let excerpt = fault.place.as_ref().and_then(|place| place.excerpt.as_ref());
    parts.extend(excerpt.map(|excerpt| format!("{}\n", fenced_block(&excerpt.render()))));
    let fix = format!("**Fix:** {}\n\n", sentence_with_names(&clip_text(&fault.fix, MAX_TEXT_LENGTH)));
    let detail = format!("{}\n", fenced_block(&clip_text(&fault.detail.join("\n"), MAX_TEXT_LENGTH)));
    match fault.detail.iter().flat_map(|text| text.lines()).count() {
        0 => parts.push(fix),
        1..=MAX_OPEN_LINES => parts.extend([detail, fix]),
        lines => parts.extend([
            fix,
            format!("<details><summary>{lines} lines about the cause</summary>\n\n{detail}</details>\n\n"),
        ]),
    }
    parts.concat()
}

/// Returns the fault's code, linked to its documentation.
pub(super) fn code_link(fault: &Fault) -> String {
    format!("**[{0}]({1}{0})**", fault.code, log_lines::ERROR_DOCS_URL)
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::fault::Code;

    #[test]
    fn many_lines_about_the_cause_are_folded_behind_the_fix() {
        let report = sample::report_of(&sample::failed_events());
        let fault = (0..13).fold(Fault::new(Code::ToolFailed, "x"), |fault, line| fault.detail(line.to_string()));
        let text = fault_section(&report, &fault);
        let (fix, folded) = (text.find("**Fix:**").unwrap(), text.find("<details><summary>13 lines").unwrap());
        assert!(fix < folded && text.ends_with("```\n\n</details>\n\n"), "{text}");
    }
}
