//! Restores that fail, and are explained from what is left.

use super::{explain, explained, lab, start};

/// A restore that fails: name, options, mode; what is done to it between (`$ck` is the checkpoint's folder), what
/// is undone afterwards, and the rule.
const RESTORES: [(&str, &str, &str, &str, &str, &str); 7] = [
    (
        "rport",
        "--network host",
        "listen 7055",
        "docker run -d --name rother --network host stuck /stuck listen 7055; sleep 0.5",
        "docker rm -f rother",
        "port-in-use",
    ),
    (
        "rchanged",
        "-v /srv/data:/data",
        "open /data/f",
        "echo more >>/srv/data/f",
        "",
        "rootfs-file-changed",
    ),
    (
        "rmissing",
        "-v /srv/data:/data",
        "open /data/f",
        "rm /srv/data/f",
        "",
        "rootfs-file-missing",
    ),
    (
        "rtrunc",
        "",
        "idle",
        "truncate -s 100 $ck/core-1.img",
        "",
        "image-truncated",
    ),
    (
        "rgone",
        "",
        "idle",
        "rm $ck/inventory.img",
        "",
        "image-missing",
    ),
    (
        "rpages",
        "",
        "idle",
        "rm $ck/pagemap-1.img",
        "",
        "image-missing",
    ),
    (
        "rpipe",
        "",
        "pipe",
        "cat /proc/sys/fs/pipe-max-size >/tmp/pipe; echo 4096 >/proc/sys/fs/pipe-max-size",
        "cat /tmp/pipe >/proc/sys/fs/pipe-max-size",
        "pipe-size-limit",
    ),
];

#[test]
fn a_failed_restore_is_explained() {
    let Some((lab, _turn)) = lab() else { return };
    for (name, options, mode, damage, mend, rule) in RESTORES {
        lab.ok("a", "mkdir -p /srv/data; echo 12345 >/srv/data/f");
        start(lab, name, options, mode);
        lab.ok("a", &format!("docker checkpoint create {name} c1"));
        // Docker refuses content that containerd's store still holds from the checkpoint: it must differ.
        let ran = lab.sh(
            "a",
            &format!(
                "until [ \"$(docker inspect -f '{{{{.State.Running}}}}' {name})\" = false ]; do sleep 0.1; done; \
                 ck=/var/lib/docker/containers/$(docker inspect -f '{{{{.Id}}}}' {name})/checkpoints/c1; \
                 {damage}; date +%s%N >$ck/unique; docker start --checkpoint c1 {name}"
            ),
        );
        if !mend.is_empty() {
            lab.ok("a", mend);
        }
        assert_ne!(ran.code, 0, "{name} was restored: {ran:?}");
        explained(&explain(lab, name), rule);
        lab.forget(name);
    }
}

#[test]
fn another_processor_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    lab.ok("a", "echo 'cpu-cap ins' >>/etc/criu/runc.conf");
    start(lab, "rcpu", "", "idle");
    lab.ok("a", "docker checkpoint create rcpu c1");
    // The image asks for every instruction there may ever be.
    let ran = lab.sh(
        "a",
        "until [ \"$(docker inspect -f '{{.State.Running}}' rcpu)\" = false ]; do sleep 0.1; done; \
         ck=/var/lib/docker/containers/$(docker inspect -f '{{.Id}}' rcpu)/checkpoints/c1; \
         perl -0777 -pi -e 's/\\x30([\\x80-\\xff]{2,})/\"\\x30\" . \"\\xff\" x length $1/ge' $ck/cpuinfo.img; \
         date +%s%N >$ck/unique; docker start --checkpoint c1 rcpu",
    );
    lab.ok("a", "sed -i '/cpu-cap/d' /etc/criu/runc.conf");
    assert_ne!(ran.code, 0, "{ran:?}");
    explained(&explain(lab, "rcpu"), "cpu-mismatch");
    lab.forget("rcpu");
}

#[test]
fn a_container_that_was_started_from_its_beginning_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    let wait = "until [ \"$(docker inspect -f '{{.State.Running}}' rfresh)\" = false ]; do sleep 0.1; done";
    lab.ok("a", ": >/var/log/criu.log");
    start(lab, "rfresh", "", "idle");
    lab.ok(
        "a",
        &format!("docker checkpoint create rfresh c1; {wait}; sleep 1.1; docker start rfresh"),
    );
    explained(&explain(lab, "rfresh"), "started-afresh");
    // A restore is none.
    let restore = format!(
        "docker stop -t 0 rfresh; {wait}; docker checkpoint ls rfresh; \
         date >/var/lib/docker/containers/$(docker inspect -f '{{{{.Id}}}}' rfresh)/checkpoints/c1/unique; \
         docker start --checkpoint c1 rfresh"
    );
    lab.ok("a", &restore);
    let said = lab.run(&[
        "--json",
        "doctor",
        "explain",
        "--host",
        "a",
        "--container",
        "rfresh",
    ]);
    assert!(!said.stdout.contains("started-afresh"), "{said:?}");
    lab.forget("rfresh");
}
