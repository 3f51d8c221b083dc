//! How long processors worked for somebody, as the kernel counts it: in nanoseconds, `/proc/…/schedstat`.

use std::{fs, path::Path, time::Duration};

/// A process that runs, all its threads.
pub(crate) fn of_process(pid: u32) -> Duration {
    tasks(&format!("/proc/{pid}/task"), |_| true)
}

/// The threads of this process that have this name.
pub(crate) fn of_threads(name: &str) -> Duration {
    tasks("/proc/self/task", |comm| comm.trim() == name)
}

/// This thread.
pub(crate) fn of_this_thread() -> Duration {
    of_task(Path::new("/proc/thread-self"))
}

fn tasks(directory: &str, is_meant: impl Fn(&str) -> bool) -> Duration {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    // A thread may end between the two looks.
    entries
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| is_meant(&comm)))
        .map(|task| of_task(&task))
        .sum()
}

fn of_task(task: &Path) -> Duration {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
