//! CPU time of a process and everything below it.

use std::collections::BTreeMap;
use std::fs;

/// Returns the CPU seconds of a process and its descendants, those that ended and were waited for included.
pub(super) fn tree_seconds(root: u32) -> f64 {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut ticks: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some((pid, parent, used)) = entry.file_name().to_str().and_then(stat) else { continue };
        children.entry(parent).or_default().push(pid);
        ticks.insert(pid, used);
    }
    let mut sum = 0;
    let mut rest = vec![root];
    while let Some(pid) = rest.pop() {
        sum += ticks.get(&pid).copied().unwrap_or_default();
        rest.extend(children.get(&pid).into_iter().flatten());
    }
    f64::from(sum) / 100.0
}

/// Returns process, parent and clock ticks used, of itself and of children that it waited for.
fn stat(name: &str) -> Option<(u32, u32, u32)> {
    let pid = name.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    Some((pid, number(1)?, number(11)? + number(12)? + number(13)? + number(14)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let (pid, parent, _) = stat(&std::process::id().to_string()).unwrap();
        assert_eq!((pid, parent > 0), (std::process::id(), true));
        assert!(tree_seconds(pid) >= 0.0);
    }
}
