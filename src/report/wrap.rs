//! Text in the width of a terminal.

use console::measure_text_width;

/// Widest line of a report.
pub const WIDTH: usize = 80;

/// Commands by their first word: they stand in one line, so that they can be pasted.
const COMMANDS: [&str; 32] = [
    "apt",
    "apt-get",
    "cat",
    "chmod",
    "chown",
    "cp",
    "criu",
    "cgroup",
    "dnf",
    "docker",
    "echo",
    "grub-mkconfig",
    "insmod",
    "ip",
    "kill",
    "losetup",
    "ls",
    "mkdir",
    "modprobe",
    "mount",
    "mv",
    "podman",
    "printf",
    "rm",
    "rsync",
    "scp",
    "ssh",
    "sudo",
    "sysctl",
    "systemctl",
    "transship",
    "zypper",
];

/// Whether a fix is a command alone.
pub fn is_command(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    COMMANDS.contains(&first) && !text.contains('`') && !text.ends_with('.')
}

/// `label` and `text` in lines of at most [`WIDTH`] columns, further lines under the text's first
/// letter. A word that is longer than a line stands in a line of its own, uncut.
pub fn wrap(label: &str, text: &str) -> String {
    let indent = measure_text_width(label);
    let mut out = label.to_owned();
    let mut column = indent;
    for (number, line) in text.trim_end().lines().enumerate() {
        if number > 0 {
            newline(&mut out, &mut column, indent);
        }
        for word in line.split_whitespace() {
            let width = measure_text_width(word);
            if column > indent && column + 1 + width > WIDTH {
                newline(&mut out, &mut column, indent);
            } else if column > indent {
                out.push(' ');
                column += 1;
            }
            out += word;
            column += width;
        }
    }
    out
}

fn newline(out: &mut String, column: &mut usize, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    *column = indent;
}

/// As [`wrap`], but commands stay in one line.
pub fn fix(label: &str, text: &str) -> String {
    if is_command(text) {
        format!("{label}{}", text.trim_end())
    } else {
        wrap(label, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let text = "word ".repeat(60);
        let wrapped = wrap("  found  ", &text);
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH));
        assert!(
            wrapped
                .lines()
                .skip(1)
                .all(|line| line.starts_with("         word"))
        );
        assert_eq!(wrapped.split_whitespace().count(), 61);
    }

    #[test]
    fn a_command_stays_in_one_line() {
        let command = format!("docker run {}", "x ".repeat(60));
        assert_eq!(fix("fix ", &command).lines().count(), 1);
        assert!(fix("fix ", &"say this ".repeat(20)).lines().count() > 1);
    }
}
