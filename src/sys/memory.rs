//! How much memory this process may use: the least of what the machine has, what the process's
//! control groups allow, and what `ulimit -v` allows.
//!
//! A source that cannot be read or understood is passed over, for there is nobody to tell and the
//! others still hold. It does not know what the memory is for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

/// Bytes assumed where no source says anything.
const ASSUMED_BYTES: u64 = 1 << 30;

/// Where control groups are mounted: cgroups(7).
const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that this process may use, as they were when this was first called.
pub(crate) fn usable_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = limit_files(&cgroup).into_iter().flat_map(fs::read_to_string);
        least(&meminfo, limits, getrlimit(Resource::As).current)
    })
}

/// The least of the physical memory by the text of `/proc/meminfo`, of the texts of `limits`, and of
/// `address_space`; [`ASSUMED_BYTES`] in place of the physical memory where that is unknown.
fn least(meminfo: &str, limits: impl Iterator<Item = String>, address_space: Option<u64>) -> u64 {
    let limits = limits.filter_map(|text| limit(&text));
    let physical = physical(meminfo).unwrap_or(ASSUMED_BYTES);
    limits.chain(address_space).fold(physical, u64::min)
}

/// The physical memory in the text of `/proc/meminfo`: proc_meminfo(5).
fn physical(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// The bytes in the text of a control group's limit; `None` for `max`, which is no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files that may hold a limit of memory for this process: of its control group and of each one
/// above it, whose limits hold for it as well. `cgroup` is the text of `/proc/self/cgroup`.
fn limit_files(cgroup: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let is_version_1 = controllers.split(',').any(|it| it == "memory");
        let (root, file) = match controllers {
            "" => (CGROUPS.to_owned(), "memory.max"),
            _ if is_version_1 => (format!("{CGROUPS}/memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| Path::new(&root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemFree:          123456 kB\nMemTotal:        8388608 kB\n";

    fn least_of(meminfo: &str, limits: &[&str], address_space: Option<u64>) -> u64 {
        least(meminfo, limits.iter().map(|&limit| limit.to_owned()), address_space)
    }

    #[test]
    fn without_limits_all_of_the_physical_memory_may_be_used() {
        assert_eq!(least_of(MEMINFO, &[], None), 8 << 30);
        assert_eq!(least_of(MEMINFO, &["max\n", "9223372036854771712\n"], None), 8 << 30);
    }

    #[test]
    fn the_least_limit_holds_wherever_it_is_set() {
        assert_eq!(least_of(MEMINFO, &["max\n", "1073741824\n", "2147483648\n"], None), 1 << 30);
        assert_eq!(least_of(MEMINFO, &["1073741824\n"], Some(512 << 20)), 512 << 20);
        assert_eq!(least_of(MEMINFO, &["1073741824\n"], Some(16 << 30)), 1 << 30);
    }

    #[test]
    fn what_cannot_be_understood_is_passed_over() {
        for meminfo in ["", "MemTotal:", "MemTotal: many kB", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(least_of(meminfo, &["", "-1", "all"], None), ASSUMED_BYTES, "{meminfo}");
        }
        assert_eq!(least_of("", &[], Some(1 << 20)), 1 << 20);
        assert!(limit_files("").is_empty());
        assert!(limit_files("nonsense\n3:cpu:/\n7:memory\n").is_empty());
    }

    #[test]
    fn the_limits_of_a_control_group_and_of_all_above_it_are_looked_at() {
        let files = limit_files("0::/system.slice/chat.service\n");
        let paths = ["system.slice/chat.service/", "system.slice/", ""];
        let expected = paths.map(|path| format!("/sys/fs/cgroup/{path}memory.max"));
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn control_groups_of_version_1_are_looked_at_in_the_hierarchy_of_their_memory() {
        let files = limit_files("9:cpu,cpuacct:/a\n4:memory:/a:b\n2:hugetlb,memory:/\n");
        let expected = ["a:b/", "", ""];
        let expected =
            expected.map(|path| format!("/sys/fs/cgroup/memory/{path}memory.limit_in_bytes"));
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn this_process_may_use_some_memory() {
        assert!(usable_bytes() > 0);
    }
}
