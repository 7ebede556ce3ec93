//! Putting things back.

use crate::hosts::*;
use provision::{Choice, Work, undo};

#[test]
fn a_hold_of_the_users_own_comes_back_and_one_of_ours_goes() {
    let mut done = survey(XENIAL);
    // Cut off while it was unpacked, it was noted a second time.
    let journal = "held-before docker-ce\nversion docker-ce 18.03.1~ce-0~ubuntu\ninstalled docker-ce\n\
                   version docker-ce 17.12.0~ce-0~ubuntu\nheld docker-ce\nheld other\n";
    done.state
        .files
        .insert("/etc/transship/undo".to_owned(), journal.to_owned());
    done.state
        .packages
        .insert("docker-ce".to_owned(), "17.09.1~ce-0~ubuntu".to_owned());
    let plan = undo(&done).unwrap();
    let marks: Vec<String> = lines(&plan)
        .into_iter()
        .filter(|line| line.starts_with("apt-mark"))
        .collect();
    assert_eq!(marks, ["apt-mark unhold other", "apt-mark hold docker-ce"]);
    let lines = lines(&plan);
    assert!(
        !lines.iter().any(|line| line.contains(" remove ")),
        "{lines:#?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("'docker-ce=18.03.1~ce-0~ubuntu'")),
        "{lines:#?}"
    );
    assert!(
        plan.changes
            .iter()
            .any(|change| change.sentence == "held again, as before: docker-ce")
    );

    // Ours from an earlier run is nobody's of before.
    done.state.holds.insert("docker-ce".to_owned());
    done.state.files.insert(
        "/etc/transship/undo".to_owned(),
        "held docker-ce\n".to_owned(),
    );
    done.state
        .packages
        .insert("docker-ce".to_owned(), "17.12.0~ce-0~ubuntu".to_owned());
    let again = provision::plan(&done, &wanted(Choice::Auto)).unwrap();
    assert!(
        !crate::hosts::lines(&again)
            .iter()
            .any(|line| line.contains("held-before"))
    );
}

#[test]
fn what_the_user_made_of_our_files_is_said_to_be_kept() {
    let mut done = survey(XENIAL);
    let journal = format!("changed {DAEMON_JSON}\ncreated /etc/sysctl.d/60-transship.conf\n");
    done.state
        .files
        .insert("/etc/transship/undo".to_owned(), journal);
    done.state.edited.insert(DAEMON_JSON.to_owned());
    let plan = undo(&done).unwrap();
    let files = plan
        .changes
        .iter()
        .find(|change| change.step == "files")
        .unwrap();
    assert_eq!(
        files.sentence,
        "/etc/sysctl.d/60-transship.conf is gone; /etc/docker/daemon.json is as it was \
         (what you made of it since is kept as /etc/docker/daemon.json.transship-undone)"
    );
}

#[test]
fn undo_puts_back_what_the_journal_says_and_nothing_else() {
    let mut done = survey(XENIAL);
    assert_eq!(undo(&done).unwrap().changes, []);
    let journal = "created /etc/apt/sources.list.d/transship-docker.list\nchanged /etc/docker/daemon.json\n\
                   version docker-ce 18.03.1~ce-0~ubuntu\ninstalled criu\ninstalled gone\nheld docker-ce\n\
                   sysctl fs.pipe-max-size 1048576\n";
    done.state
        .files
        .insert("/etc/transship/undo".to_owned(), journal.to_owned());
    for (package, version) in [("criu", "2.0"), ("docker-ce", "17.09.1~ce-0~ubuntu")] {
        done.state
            .packages
            .insert(package.to_owned(), version.to_owned());
    }
    let plan = Work::Undo.plan(&done).unwrap();
    assert_eq!(
        steps(&plan),
        [
            "holds", "packages", "files", "packages", "sysctl", "service", "journal"
        ]
    );
    let lines = lines(&plan);
    assert!(lines[1].ends_with(" remove criu"), "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("'docker-ce=18.03.1~ce-0~ubuntu'"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("fs.pipe-max-size=1048576"))
    );
}
