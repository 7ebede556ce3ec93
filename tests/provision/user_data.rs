//! User-data for cloud-init, against cloud-init's own schema.

use crate::support::{MUST, Ran, transship};

#[test]
fn user_data_is_what_cloud_init_wants() {
    if std::process::Command::new("cloud-init")
        .arg("--version")
        .output()
        .is_err()
    {
        assert!(
            std::env::var_os(MUST).is_none(),
            "there is no cloud-init, which scripts/packages installs"
        );
        eprintln!("SKIPPED: no cloud-init");
        return;
    }
    for (profile, release) in [
        ("docker-17.09", "ubuntu-16.04"),
        ("docker", "debian-13"),
        ("docker", "ubuntu-22.04"),
        ("docker", "ubuntu-24.04"),
        ("podman", "ubuntu-24.04"),
        ("podman", "debian-12"),
    ] {
        let text = Ran::of(
            transship()
                .args([
                    "provision",
                    "--cloud-init",
                    "--profile",
                    profile,
                    "--release",
                    release,
                ])
                .output()
                .unwrap(),
        );
        let text = text.expect(0).stdout;
        assert!(text.starts_with("#cloud-config\n"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let schema = std::process::Command::new("cloud-init")
            .args(["schema", "--config-file"])
            .arg(file.path())
            .output()
            .unwrap();
        let schema = Ran::of(schema);
        assert_eq!(schema.code, 0, "{profile} {release}: {schema:?}");
        assert!(schema.stdout.contains("Valid"), "{schema:?}");
    }
}
