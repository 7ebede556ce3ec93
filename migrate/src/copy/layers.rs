//! Which layers of an image a host has already, as part of other images.

use engine::Engine;
use host::Host;
use serde_json::Value;

/// The first layers of `image`, as many of them as some image of the host begins with. Later ones that it may
/// have too do not count: an engine knows a layer by all that are below it. None where the host does not say.
pub(super) fn known(host: &dyn Host, engine: &Engine, image: &Value) -> Vec<String> {
    host.text(&engine.inspect_images())
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .map(|others: Vec<Value>| common(&layers(image), &others))
        .unwrap_or_default()
}

fn layers(image: &Value) -> Vec<String> {
    let list = image["RootFS"]["Layers"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(|layer| layer.as_str().map(str::to_owned))
        .collect()
}

fn common(wanted: &[String], others: &[Value]) -> Vec<String> {
    let most = others
        .iter()
        .map(|other| {
            let here = layers(other);
            wanted.iter().zip(&here).take_while(|(a, b)| a == b).count()
        })
        .max()
        .unwrap_or(0);
    let known = &wanted[..most];
    // One that comes again above has the same file.
    let above = &wanted[most..];
    known
        .iter()
        .enumerate()
        .filter(|(at, layer)| !above.contains(layer) && !known[..*at].contains(layer))
        .map(|(_, layer)| layer.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_layers_with_all_that_is_below_them_are_known() {
        let image = |layers: &[&str]| json!({"RootFS": {"Layers": layers}});
        let of = |wanted: &[&str], others: &[Value]| common(&layers(&image(wanted)), others);
        let wanted = ["base", "tools", "program"];
        assert_eq!(of(&wanted, &[]), [""; 0]);
        let others = [image(&["base"]), image(&["base", "tools", "other"])];
        assert_eq!(of(&wanted, &others), ["base", "tools"]);
        // The same files on something else are another layer to an engine.
        assert_eq!(of(&wanted, &[image(&["tools", "program"])]), [""; 0]);
        assert_eq!(of(&wanted, &[json!({"Id": "odd"})]), [""; 0]);
        // A layer that comes again is one file for both.
        let others = [image(&["empty", "a", "empty"])];
        assert_eq!(of(&["empty", "a", "b", "empty"], &others), ["a"]);
        assert_eq!(of(&["empty", "a", "empty"], &others), ["empty", "a"]);
    }
}
