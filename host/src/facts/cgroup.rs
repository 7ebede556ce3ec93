//! Control groups.

use super::transcript::keyed;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Which version of control groups the host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// Only v1 hierarchies.
    V1,
    /// v1 for the controllers, v2 beside it without them (systemd's hybrid).
    Hybrid,
    /// The unified hierarchy.
    V2,
}

impl CgroupVersion {
    /// The version that engines use: 1 for hybrid.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            CgroupVersion::V1 | CgroupVersion::Hybrid => 1,
            CgroupVersion::V2 => 2,
        }
    }
}

/// Control groups of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cgroup {
    /// The version in use.
    pub version: CgroupVersion,
    /// Controllers that are mounted (v1) or available (v2).
    pub controllers: BTreeSet<String>,
    /// Where v1 controllers are mounted, by controller.
    pub mounts: BTreeMap<String, String>,
}

/// Reads the section `cgroup`; `None` where no control groups are mounted.
#[must_use]
pub fn parse(text: &str) -> Option<Cgroup> {
    let known: BTreeSet<&str> = keyed(text, "v1")
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut mounts = BTreeMap::new();
    let mut unified = false;
    for line in keyed(text, "mount") {
        let mut words = line.split(' ');
        let (Some(folder), Some(kind), Some(options)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        unified |= kind == "cgroup2";
        for option in options.split(',').filter(|_| kind == "cgroup") {
            if known.contains(option) {
                mounts.insert(option.to_owned(), folder.to_owned());
            }
        }
    }
    let kind = keyed(text, "type").next().unwrap_or_default();
    let v2: BTreeSet<String> = keyed(text, "controllers")
        .flat_map(|line| line.split(' '))
        .map(str::to_owned)
        .filter(|name| !name.is_empty())
        .collect();
    let version = match (kind == "cgroup2fs", unified, mounts.is_empty()) {
        (true, ..) | (false, true, true) => CgroupVersion::V2,
        (false, true, false) => CgroupVersion::Hybrid,
        (false, false, false) => CgroupVersion::V1,
        (false, false, true) => return None,
    };
    let controllers = match version {
        CgroupVersion::V2 => v2,
        _ => mounts.keys().cloned().collect(),
    };
    Some(Cgroup {
        version,
        controllers,
        mounts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_three_layouts_apart() {
        let v1 = "type tmpfs\nmount /sys/fs/cgroup/memory cgroup rw,memory\nv1 memory 1\n";
        let hybrid = format!("{v1}mount /sys/fs/cgroup/unified cgroup2 rw\n");
        let v2 = "type cgroup2fs\nmount /sys/fs/cgroup cgroup2 rw\ncontrollers cpu memory\n";
        assert_eq!(parse(v1).unwrap().version, CgroupVersion::V1);
        assert_eq!(parse(&hybrid).unwrap().version, CgroupVersion::Hybrid);
        let unified = parse(v2).unwrap();
        assert_eq!(unified.version, CgroupVersion::V2);
        assert!(unified.controllers.contains("memory"));
        assert_eq!(parse(""), None);
    }
}
