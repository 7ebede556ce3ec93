//! When a restore was how far: files beside the images, for whoever reports where the time went. The pending
//! folder is gone by the time it is asked.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the file that says when the container was restored.
pub const RESTORED: &str = "restored";

/// Name of the file that says when the engine let it start: between the two it attaches the network.
pub const STARTED: &str = "started";

/// The time of day; what is made of it is only ever the difference of two times of one host.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Writes down that it is so far. Nothing depends on it.
pub(crate) fn mark(images: &Path, name: &str) {
    let _ = std::fs::write(images.with_file_name(name), now().as_nanos().to_string());
}

/// When it was so far; none where nobody wrote that down.
#[must_use]
pub fn read(images: &Path, name: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(images.with_file_name(name)).ok()?;
    text.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_read_beside_the_images() {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("images");
        assert_eq!(read(&images, RESTORED), None);
        let before = now();
        mark(&images, RESTORED);
        let at = read(&images, RESTORED).unwrap();
        assert!(before <= at && at <= now());
        assert!(dir.path().join(RESTORED).exists());
        std::fs::write(dir.path().join(STARTED), "soon").unwrap();
        assert_eq!(read(&images, STARTED), None);
    }
}
