//! Space on file systems, from df.

use super::transcript::keyed;
use serde::Serialize;

/// The file system that holds a folder; sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// The folder that was asked for.
    pub folder: String,
    /// Device or pseudo file system.
    pub device: String,
    /// `ext4`, `tmpfs`; `None` where df cannot say.
    pub kind: Option<String>,
    /// Size.
    pub total: u64,
    /// Space that root can still use.
    pub available: u64,
    /// Where it is mounted.
    pub mount: String,
}

/// Reads the section `disks`: lines `folder F`, then df's table with one row for each, in order.
#[must_use]
pub fn parse(text: &str) -> Vec<FileSystem> {
    let folders = keyed(text, "folder");
    let mut rows = text
        .lines()
        .skip_while(|line| !line.starts_with("Filesystem"));
    let has_type = rows
        .next()
        .is_some_and(|header| header.split_whitespace().nth(1) == Some("Type"));
    let rows: Vec<&str> = rows.filter(|line| !line.trim().is_empty()).collect();
    let mut found: Vec<FileSystem> = Vec::new();
    let folders: Vec<&str> = folders.collect();
    if folders.len() != rows.len() {
        // A row is missing: which folder it belongs to can't be told.
        return found;
    }
    for (folder, row) in folders.into_iter().zip(rows) {
        if found.iter().any(|known| known.folder == folder) {
            continue;
        }
        found.extend(file_system(folder, row, has_type));
    }
    found
}

fn file_system(folder: &str, row: &str, has_type: bool) -> Option<FileSystem> {
    let mut words = row.split_whitespace();
    let device = words.next()?.to_owned();
    let kind = if has_type { words.next() } else { None };
    let kilobytes = |word: Option<&str>| word?.parse::<u64>().ok()?.checked_mul(1024);
    let total = kilobytes(words.next())?;
    let _used = words.next()?;
    let available = kilobytes(words.next())?;
    let _capacity = words.next()?;
    Some(FileSystem {
        folder: folder.to_owned(),
        device,
        kind: kind.map(str::to_owned),
        total,
        available,
        mount: words.collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_belong_to_folders_in_order() {
        let text = "folder /var/lib/docker\nfolder /tmp\nfolder /tmp\n\
            Filesystem Type 1024-blocks Used Available Capacity Mounted on\n\
            /dev/vda ext4 100 10 90 10% /\ntmpfs tmpfs 50 0 50 0% /my tmp\ntmpfs tmpfs 50 0 50 0% /my tmp\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].available, found[0].kind.as_deref()),
            (90 * 1024, Some("ext4"))
        );
        assert_eq!(found[1].mount, "/my tmp");
        assert_eq!(parse("folder /x\n"), []);
    }
}
