//! The scenarios that come with the command.

/// Name and text of each.
const SHIPPED: [(&str, &str); 6] = [
    ("office", include_str!("../../../samples/scenarios/office.toml")),
    ("wifi", include_str!("../../../samples/scenarios/wifi.toml")),
    ("campus", include_str!("../../../samples/scenarios/campus.toml")),
    ("internet", include_str!("../../../samples/scenarios/internet.toml")),
    ("flash-crowd", include_str!("../../../samples/scenarios/flash-crowd.toml")),
    ("storm", include_str!("../../../samples/scenarios/storm.toml")),
];

/// Returns the text of a shipped scenario.
pub(super) fn find(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Returns the names of all: `office, wifi, campus, internet, flash-crowd, storm`.
pub(super) fn names() -> String {
    SHIPPED.map(|(name, _)| name).join(", ")
}
