//! The file in which runc keeps what it knows of a container (libcontainer, `container.go`: `BaseState`, `State`).

use crate::context::Context;
use host::Cmd;
use serde_json::Value;

/// That of the container on the source.
pub(super) fn path(context: &Context) -> String {
    let container = &context.container;
    let root = context.source.engine.runc_root(container.runtime());
    format!("{root}/{}/state.json", container.id())
}

/// What it says of the container's standard descriptors, which runc puts beside the images at a checkpoint; none where
/// it does not.
pub(super) fn descriptors(context: &Context) -> Option<String> {
    let cmd = Cmd::reads("cat").args([&path(context)]);
    of(&context.source.host.text(&cmd).ok()?)
}

fn of(text: &str) -> Option<String> {
    let state: Value = serde_json::from_str(text).ok()?;
    let list = &state["external_descriptors"];
    list.is_array().then(|| list.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_list_counts() {
        let text = r#"{"id":"abc","external_descriptors":["/dev/null","pipe:[1]","pipe:[2]"]}"#;
        assert_eq!(
            of(text).as_deref(),
            Some(r#"["/dev/null","pipe:[1]","pipe:[2]"]"#)
        );
        assert_eq!(of(r#"{"id":"abc"}"#), None);
        assert_eq!(of(""), None);
    }
}
