//! Tests of the runner emulator itself: what a container receives, and how its output is processed.

use crate::{
    network::{MACHINE, shared},
    runner::{event::Event, paths::Temp},
    running::{Conclusion, EndedStage},
    step::Step,
};
use std::panic;

/// Runs a script instead of the action.
fn run_script(step: Step<'_>, script: &str) -> EndedStage {
    step.probe(MACHINE, &["bash", "-c", script]).start().finish()
}

/// Discards the result of a container that is not the action.
fn discard(ended: EndedStage) {
    drop(panic::catch_unwind(panic::AssertUnwindSafe(|| ended.finished.done())));
}

#[test]
fn a_step_gets_the_environment_of_the_runners_contract() {
    let database = shared().database();
    let step = Step::bare(&database).input("dry-run", "a\nb ").env("MINE", "x").on(Event::PullRequest);
    let script = r#"
        pwd; id -u; cat; tty
        printenv HOME GITHUB_WORKSPACE GITHUB_EVENT_PATH RUNNER_TEMP GITHUB_ACTIONS CI MINE GITHUB_BASE_REF
        printenv INPUT_DRY-RUN | tr '\n' '|'; echo
        test -e "$RUNNER_WORKSPACE" || echo 'no such directory on this side'
        ls -d "$HOME" "$RUNNER_TEMP" "$GITHUB_WORKSPACE"
        cut -c-10 "$GITHUB_EVENT_PATH"
        for file in "$GITHUB_OUTPUT" "$GITHUB_STATE" "$GITHUB_STEP_SUMMARY" "$GITHUB_ENV" "$GITHUB_PATH"; do
            stat -c '%a %u %s' "$file"
        done
        printenv GITHUB_TOKEN || echo 'no token'"#;
    let ended = run_script(step, script);
    let expected = "/github/workspace\n0\nnot a tty\n/github/home\n/github/workspace\n/github/workflow/event.json\n\
        /github/runner_temp\ntrue\ntrue\nx\nmain\na|b |\nno such directory on this side\n/github/home\n\
        /github/runner_temp\n/github/workspace\n{\"action\":\n644 1001 0\n644 1001 0\n644 1001 0\n644 1001 0\n644 1001 0\n\
        no token\n";
    assert_eq!(ended.shown, expected);
    assert_eq!(ended.conclusion, Conclusion::Succeeded);
    discard(ended);
}

#[test]
fn state_that_a_stage_saves_is_available_in_the_next_one() {
    let database = shared().database();
    let ended = run_script(Step::bare(&database), r#"echo 'Owner=me' >> "$GITHUB_STATE"; exit 1"#);
    assert_eq!(ended.conclusion, Conclusion::Failed);
    let state = ended.state.clone();
    discard(ended);
    let ended = run_script(Step::bare(&database).with_state(state), "printenv STATE_Owner");
    assert_eq!(ended.shown, "me\n");
    discard(ended);
}

#[test]
fn a_failed_workflow_command_fails_the_step() {
    let database = shared().database();
    for script in ["echo ::set-env name=a::b", r#"echo broken >> "$GITHUB_OUTPUT""#, "echo '::stop-commands::'"] {
        let ended = run_script(Step::bare(&database), script);
        assert_eq!(ended.conclusion, Conclusion::Failed, "{script}");
        discard(ended);
    }
}

#[test]
fn forbidden_effects_of_a_step_are_detected() {
    let database = shared().database();
    let leaky = Step::bare(&database).secret("ssh-password", "hunter2 hunter2");
    let script = r#"
        touch /github/workspace/litter "$HOME/litter" "$RUNNER_TEMP/litter"
        echo "$INPUT_SSH_PASSWORD hunter2 hunter2"; echo aHVudGVyMiBodW50ZXIy
        echo 'a=hunter2 hunter2' >> "$GITHUB_OUTPUT"; echo 'A=b' >> "$GITHUB_ENV""#;
    let ended = run_script(leaky.temp(Temp::Mounted), script);
    let wrong = ended.finished.wrong.join("\n");
    for expected in [
        "a secret is in the log: hunter2 hunter2",
        "a secret is in the Output: hunter2 hunter2",
        "path, env and artifacts",
        "dropped by the job: expected [], got [\"a\"]",
        "_github_home/litter",
        "app/app/litter",
        "the runner's directories",
    ] {
        assert!(wrong.contains(expected), "{expected} is not in {wrong}");
    }
    assert_eq!(ended.shown.matches("***").count(), 2, "{}", ended.shown);
    discard(ended);
}
