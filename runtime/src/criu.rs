//! What those who call CRIU, and those who judge what it will do, both know of its configuration.

/// The variable that names a configuration file to CRIU (criu(8)). runc's annotation for one (`org.criu.config`) would
/// stay with the container, and keep later checkpoints of it from the host's own configuration.
pub const CONFIG_FILE: &str = "CRIU_CONFIG_FILE";

/// Bytes of a deleted file that is still open that all modes but tarball take along at most, in whole MiB, where the
/// host's own configuration of CRIU, which has the last word, names no other limit: CRIU's is 1 MiB. The images have room
/// for it.
pub const GHOST_LIMIT: u64 = 128 << 20;
