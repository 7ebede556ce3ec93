//! Is there room for the images on both hosts?

use crate::{Failure, leftover};
use engine::{Container, Docker, Name};
use host::{Cmd, Host};

/// Memory of all processes of a container, what is swapped out and what its file systems in memory hold
/// included, in bytes: about the size of its images. Processes that end while it is read count nothing.
pub(crate) fn memory(host: &dyn Host, container: &Container, name: &Name) -> Result<u64, Failure> {
    let script = r#"
first=$1; shift
"$@" | while read -r pid; do grep -sE '^Vm(RSS|Swap):' "/proc/$pid/status"; done
while read -r _ at type _; do
    [ "$type" = tmpfs ] || continue
    set -- $(stat -f -c '%S %b %f' -- "/proc/$first/root$(printf %b "$at")" 2>/dev/null)
    [ $# = 3 ] && echo "tmpfs $(( ($2 - $3) * $1 / 1024 ))"
done < "/proc/$first/mounts"
true"#;
    let list = container.kind().processes(name);
    let first = container.pid().unwrap_or_default().to_string();
    let text = host.text(
        &Cmd::reads("sh")
            .args([
                "-c",
                script,
                "the-memory-of-the-container",
                &first,
                &list.program,
            ])
            .args(list.args),
    )?;
    Ok(sum_kib(&text) * 1024)
}

fn sum_kib(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

/// One line of `df -Pk`: where it is mounted and the bytes free.
#[derive(Debug, PartialEq, Eq)]
struct Free {
    mount: String,
    bytes: u64,
}

fn parse_df(text: &str) -> Vec<Free> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some(Free {
                bytes: words.get(3)?.parse::<u64>().ok()? * 1024,
                mount: words.get(5)?.to_string(),
            })
        })
        .collect()
}

/// Refuses where images and tarball of `memory` bytes would not fit.
pub(crate) fn check(host: &dyn Host, docker: &Docker, memory: u64) -> Result<(), Failure> {
    let script = r#"f=$1; [ -d "$f" ] || f=/var/lib; df -Pk "$f" "$2""#;
    let text =
        host.text(&Cmd::reads("sh").args(["-c", script, "sh", leftover::HOME, &docker.root_dir]))?;
    let free = parse_df(&text);
    let [folder, root] = free.as_slice() else {
        return Ok(());
    };
    // Images and tarball lie in the work folder; engines that do not restore from a folder carry the
    // images through containerd's content store and a temporary folder too.
    let work = 2 * memory;
    let store = if docker.restores_from_folder() {
        0
    } else {
        2 * memory
    };
    let short = if folder.mount == root.mount {
        (folder.bytes < work + store).then_some((folder, work + store))
    } else if folder.bytes < work {
        Some((folder, work))
    } else {
        (root.bytes < store).then_some((root, store))
    };
    let Some((disk, needed)) = short else {
        return Ok(());
    };
    let on = host.name();
    Err(Failure::refused(
        on,
        format!(
            "not enough space on {on}: the images of {} MiB of memory need about {} MiB below {}, {} MiB are free",
            memory >> 20,
            needed >> 20,
            disk.mount,
            disk.bytes >> 20
        ),
    )
    .fix(format!("on {on}: docker system df, then docker system prune; or free space below {}", disk.mount)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_and_rss_are_read() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/vda 100 10 90 10% /\ntmpfs 50 0 50 0% /var/lib/docker\n";
        let free = parse_df(text);
        assert_eq!(
            free[0],
            Free {
                mount: "/".into(),
                bytes: 90 * 1024
            }
        );
        assert_eq!(free[1].mount, "/var/lib/docker");
        assert_eq!(
            sum_kib("VmRSS:\t     100 kB\nVmSwap:\t 28 kB\nnonsense\ntmpfs 72\n"),
            200
        );
    }
}
