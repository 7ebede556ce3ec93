//! Marks on a host for what a container that moved away left there: a volume, or a folder of a bind mount, whose
//! content is old and may be overwritten when the container comes back. A mark holds for that very folder, as
//! long as nothing in it was touched since.

use crate::Failure;
use engine::{Kind, Name};
use host::{Cmd, Host};

/// Marks of volumes, by their names.
const VOLUMES: &str = "/var/lib/transship/moved";
/// Marks of folders, by their paths.
const FOLDERS: &str = "/var/lib/transship/moved-folders";

/// What a mark says of a folder: which one it is. A volume that was made anew has another time or inode.
const IDENTITY: &str = r#"
identity() { [ -z "$2" ] || "$1" volume inspect --format '{{.CreatedAt}}' "$2"; stat -c '%d %i' "$3"; }
folder() { if [ -n "$2" ]; then "$1" volume inspect --format '{{.Mountpoint}}' "$2"; else printf '%s\n' "$3"; fi; }
"#;

/// What may be marked.
pub(crate) enum Left<'a> {
    /// A named volume of this engine.
    Volume(Kind, &'a Name),
    /// A folder of the host.
    Folder(&'a str),
}

impl Left<'_> {
    /// The file that is its mark. The engines' names for volumes are safe in a path.
    fn mark(&self) -> String {
        match self {
            Left::Volume(_, name) => format!("{VOLUMES}/{name}"),
            Left::Folder(path) => format!("{FOLDERS}{path}/.moved"),
        }
    }

    fn cmd(&self, cmd: Cmd, script: &str) -> Cmd {
        let script = format!("{IDENTITY}{script}");
        let (program, volume, folder) = match self {
            Left::Volume(kind, name) => (kind.program(), name.as_str(), ""),
            Left::Folder(path) => ("", "", *path),
        };
        cmd.args([
            "-c",
            &script,
            "the-mark-of-what-moved",
            &self.mark(),
            program,
            volume,
            folder,
        ])
    }

    /// Says that what is in it is old from now on.
    pub fn set(&self, host: &dyn Host) -> Result<(), Failure> {
        let script = r#"
set -e; umask 077
folder=$(folder "$2" "$3" "$4"); mkdir -p "${1%/*}"
identity "$2" "$3" "$folder" > "$1.new"; mv "$1.new" "$1""#;
        host.text(&self.cmd(Cmd::changes("sh"), script))?;
        Ok(())
    }

    /// Whether it is marked, is the one that was, and was not touched since.
    pub fn holds(&self, host: &dyn Host) -> Result<bool, Failure> {
        let script = r#"
[ -f "$1" ] || exit 1
folder=$(folder "$2" "$3" "$4") || exit 1
[ "$(identity "$2" "$3" "$folder")" = "$(cat "$1")" ] || exit 1
[ -z "$(find "$folder" -cnewer "$1" -print -quit)" ]"#;
        Ok(host.run(&self.cmd(Cmd::reads("sh"), script))?.status == 0)
    }

    /// Takes the mark away: what is in it is new.
    pub fn unset(&self, host: &dyn Host) -> Result<(), Failure> {
        // Of a folder's mark, the empty folders above it too.
        let script = r#"rm -f "$2"; cd "$1" 2>/dev/null || exit 0; p=${2#"$1"/}; while [ "$p" != "${p%/*}" ]; do p=${p%/*}; rmdir "$p" 2>/dev/null || break; done; true"#;
        let home = match self {
            Left::Volume(..) => VOLUMES,
            Left::Folder(_) => FOLDERS,
        };
        host.text(&Cmd::changes("sh").args(["-c", script, "sh", home, &self.mark()]))?;
        Ok(())
    }
}

/// Keeps the marks of volumes that a migration which was undone began to write to: what is in them is old still.
/// Removes those that came into being with the container.
pub(crate) fn keep_or_remove(host: &dyn Host, kind: Kind, volume: &Name) -> Result<(), Failure> {
    let left = Left::Volume(kind, volume);
    let marked = Cmd::reads("test").args(["-e", &left.mark()]);
    if host.run(&marked)?.status == 0 {
        return left.set(host);
    }
    let script = r#"! "$2" volume inspect "$1" >/dev/null 2>&1 || "$2" volume rm "$1""#;
    let cmd = Cmd::changes("sh").args(["-c", script, "sh", volume.as_str(), kind.program()]);
    host.text(&cmd)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::Local;

    #[test]
    fn a_mark_holds_for_that_folder_until_something_in_it_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's");
        let path = path.to_str().unwrap();
        let (left, mark) = (Left::Folder(path), Left::Folder(path).mark());
        let fresh = || {
            std::fs::create_dir_all(format!("{path}/deep")).unwrap();
            std::fs::write(format!("{path}/deep/file"), "old").unwrap();
            left.set(&Local).unwrap();
            assert!(left.holds(&Local).unwrap());
            // A file system's clock goes in steps of some milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        fresh();
        std::fs::write(format!("{path}/deep/file"), "new").unwrap();
        assert!(!left.holds(&Local).unwrap());
        fresh();
        std::fs::remove_file(format!("{path}/deep/file")).unwrap();
        assert!(!left.holds(&Local).unwrap());
        fresh();
        std::fs::rename(path, format!("{path}.old")).unwrap();
        std::fs::create_dir(path).unwrap();
        assert!(!left.holds(&Local).unwrap());
        left.unset(&Local).unwrap();
        assert!(!std::path::Path::new(&mark).exists());
    }
}
