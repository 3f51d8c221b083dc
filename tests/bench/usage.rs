//! Resource usage as the kernel counts it: CPU time in nanoseconds (`/proc/…/schedstat`) and peak memory.

use std::{fs, path::Path, process::Command, thread, time::Duration};

/// Returns the CPU time of a running process with all its threads.
pub(crate) fn of_process(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| of_task(&task.path())).sum()
}

/// Returns the CPU time of this thread.
pub(crate) fn of_this_thread() -> Duration {
    of_task(Path::new("/proc/thread-self"))
}

/// Returns the CPU time of the child processes that this one has waited for, in ticks of ten milliseconds (`proc(5)`:
/// `cutime` and `cstime` are fields 16 and 17, in units of `USER_HZ`, which is 100 everywhere).
pub(crate) fn of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Runs the program to its end, and returns its peak memory in megabytes (10⁶ bytes). The watcher takes a processor for
/// itself.
pub(crate) fn run_to_peak(program: &mut Command) -> f64 {
    let mut child = program.spawn().expect("the program is built");
    let mut peak = 0.0;
    while let Some(now) = peak_memory(child.id()) {
        peak = now;
        thread::yield_now();
    }
    assert!(child.wait().expect("the program ends").success());
    peak
}

/// Returns the peak memory of a process so far, in megabytes (10⁶); `None` after its end.
fn peak_memory(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB");
    Some(kibibytes.parse::<f64>().ok()? * 1024.0 / 1e6)
}

fn of_task(task: &Path) -> Duration {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
