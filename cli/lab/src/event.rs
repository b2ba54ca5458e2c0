//! Events that the binary writes with `--json`: one object a line.

use serde_json::Value;

/// One event of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    fields: Value,
}

impl Event {
    /// Reads a line; `None` if it is not an object with an `event` and a `t`.
    pub fn parse(line: &str) -> Option<Self> {
        let event = Self { fields: serde_json::from_str(line).ok()? };
        event.text("event")?;
        event.number("t")?;
        Some(event)
    }

    /// What happened.
    pub fn name(&self) -> &str {
        self.text("event").unwrap_or_default()
    }

    /// When the process said so, in seconds of CLOCK_MONOTONIC.
    pub fn t(&self) -> f64 {
        self.number("t").unwrap_or_default()
    }

    /// A number by its path: `lost`, or `latest/closed` for one inside of another object.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.value(path)?.as_f64()
    }

    /// A text by its path.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.value(path)?.as_str()
    }

    /// A truth value by its path.
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.value(path)?.as_bool()
    }

    /// Any value by its path; JSON's `null` counts as absent.
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.fields.pointer(&format!("/{path}")).filter(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn fields_are_found_by_their_path() {
        let event = Event::parse(r#"{"event":"stats","t":12.5,"lost":3,"latest":{"closed":1.5},"rtt":null}"#);
        let event = event.as_ref();
        assert_eq!(event.map(Event::name), Some("stats"));
        assert_eq!(event.map(Event::t), Some(12.5));
        assert_eq!(event.and_then(|event| event.number("latest/closed")), Some(1.5));
        assert_eq!(event.and_then(|event| event.value("rtt")), None);
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in ["", "{", "[1]", r#"{"event":"stats"}"#, r#"{"t":1}"#] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
