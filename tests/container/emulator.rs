//! The runner of these tests is a runner: what a container is given, and what becomes of what it writes.

use crate::{
    network::{MACHINE, shared},
    runner::{event::Event, paths::Temp},
    running::{Conclusion, Ended},
    step::Step,
};
use std::panic;

/// Runs a script in the place of the action.
fn probed(step: Step<'_>, script: &str) -> Ended {
    step.probe(MACHINE, &["bash", "-c", script]).start().finish()
}

/// Ends the verdict over something that is no run of the action.
fn set_aside(ended: Ended) {
    drop(panic::catch_unwind(panic::AssertUnwindSafe(|| ended.finished.done())));
}

#[test]
fn a_step_is_given_what_the_contract_says() {
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
    let ended = probed(step, script);
    let expected = "/github/workspace\n0\nnot a tty\n/github/home\n/github/workspace\n/github/workflow/event.json\n\
        /github/runner_temp\ntrue\ntrue\nx\nmain\na|b |\nno such directory on this side\n/github/home\n\
        /github/runner_temp\n/github/workspace\n{\"action\":\n644 1001 0\n644 1001 0\n644 1001 0\n644 1001 0\n644 1001 0\n\
        no token\n";
    assert_eq!(ended.shown, expected);
    assert_eq!(ended.conclusion, Conclusion::Succeeded);
    set_aside(ended);
}

#[test]
fn what_a_stage_saves_is_there_in_the_next() {
    let database = shared().database();
    let ended = probed(Step::bare(&database), r#"echo 'Owner=me' >> "$GITHUB_STATE"; exit 1"#);
    assert_eq!(ended.conclusion, Conclusion::Failed);
    let state = ended.state.clone();
    set_aside(ended);
    let ended = probed(Step::bare(&database).with_state(state), "printenv STATE_Owner");
    assert_eq!(ended.shown, "me\n");
    set_aside(ended);
}

#[test]
fn a_command_that_fails_makes_the_step_fail() {
    let database = shared().database();
    for script in ["echo ::set-env name=a::b", r#"echo broken >> "$GITHUB_OUTPUT""#, "echo '::stop-commands::'"] {
        let ended = probed(Step::bare(&database), script);
        assert_eq!(ended.conclusion, Conclusion::Failed, "{script}");
        set_aside(ended);
    }
}

#[test]
fn whatever_a_step_should_not_do_is_seen() {
    let database = shared().database();
    let leaky = Step::bare(&database).secret("ssh-password", "hunter2 hunter2");
    let script = r#"
        touch /github/workspace/litter "$HOME/litter" "$RUNNER_TEMP/litter"
        echo "$INPUT_SSH_PASSWORD hunter2 hunter2"; echo aHVudGVyMiBodW50ZXIy
        echo 'a=hunter2 hunter2' >> "$GITHUB_OUTPUT"; echo 'A=b' >> "$GITHUB_ENV""#;
    let ended = probed(leaky.temp(Temp::Mounted), script);
    let wrong = ended.finished.wrong.join("\n");
    for seen in [
        "a secret is in the log: hunter2 hunter2",
        "a secret is in the Output: hunter2 hunter2",
        "path, env and artifacts",
        "dropped by the job: expected [], got [\"a\"]",
        "_github_home/litter",
        "app/app/litter",
        "the runner's directories",
    ] {
        assert!(wrong.contains(seen), "{seen} is not in {wrong}");
    }
    assert_eq!(ended.shown.matches("***").count(), 2, "{}", ended.shown);
    set_aside(ended);
}
