//! Where logs of a failure are looked for, with an engine whose data is not in its usual place.

use host::facts::logs::Logs;
use host::{Cmd, Host, Local};

const ID: &str = "5f0c1d2e3a4b5f0c1d2e3a4b5f0c1d2e3a4b5f0c1d2e3a4b5f0c1d2e3a4b5f0c";
const OTHER: &str = "00001d2e3a4b5f0c1d2e3a4b5f0c1d2e3a4b5f0c1d2e3a4b5f0c1d2e3a4b0000";

/// What is found for container `name` where the program `engine` answers so: `known` is a name that it has as [`ID`].
fn found(engine: &str, answers: &str, known: &str, name: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*\" {known}\")\n case $4 in\n *Id*) echo '/{known} {ID}' ;;\n *) ;;\n esac ;;\n\
         info*) echo '{answers}' | sed 's,ROOT,{},' ;;\n*) exit 1 ;;\nesac\n",
        root.display()
    );
    let put = |path: &str, text: &str, mode| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        Local
            .put(path.to_str().unwrap(), text.as_bytes(), mode)
            .unwrap();
    };
    put(&format!("bin/{engine}"), &script, 0o755);
    for id in [ID, OTHER] {
        put(
            &format!("data/containers/{id}/checkpoints/c1/criu.work/dump.log"),
            id,
            0o600,
        );
        put(
            &format!("data/overlay-containers/{id}/userdata/restore.log"),
            id,
            0o600,
        );
    }
    let cmd = Cmd::reads("sh")
        .args(["-s", "transship-logs", name])
        .stdin(include_bytes!("../src/facts/logs.sh"))
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", folder.path().join("bin").display()),
        );
    let logs = Logs::parse(&Local.run(&cmd).unwrap().stdout_text());
    let texts = logs
        .logs
        .into_iter()
        .filter(|(path, _)| path.contains("/data/"));
    texts
        .map(|(_, text)| String::from_utf8(text).unwrap().trim().to_owned())
        .collect()
}

#[test]
fn the_engine_says_where_its_data_is() {
    assert_eq!(found("docker", "ROOT", "web", "web"), [ID]);
    assert_eq!(found("podman", "ROOT overlay", "web", "web"), [ID]);
}

#[test]
fn a_name_that_is_part_of_a_path_finds_nothing_of_others() {
    for name in ["c1", "data", "containers", "0", "nobody"] {
        assert_eq!(found("docker", "ROOT", "web", name), [""; 0], "{name}");
    }
    assert_eq!(found("docker", "ROOT", "c1", "c1"), [ID]);
}
