//! How fast a container changes its memory.

use super::{lab, says};

#[test]
fn a_busy_container_is_told_from_an_idle_one() {
    let Some((lab, _turn)) = lab() else { return };
    lab.ok(
        "a",
        "docker run -d --name dbusy --entrypoint hog busybox 64 32; docker run -d --name didle stuck /stuck idle; \
         for name in dbusy didle; do until docker logs $name | grep -q .; do sleep 0.1; done; done",
    );
    let (status, text) = says(lab, "dbusy", "container.dirty-rate");
    assert_eq!(status, "ok", "{text}");
    assert!(text.contains("of a processor and touched"), "{text}");
    let (status, text) = says(lab, "didle", "container.dirty-rate");
    assert_eq!(status, "ok", "{text}");
    assert!(text.contains("it changes no memory"), "{text}");
    let (_, text) = says(lab, "dbusy", "container.memory");
    assert!(
        text.contains("6") && text.contains("MiB of memory to move"),
        "{text}"
    );
    for name in ["dbusy", "didle"] {
        lab.forget(name);
    }
}
