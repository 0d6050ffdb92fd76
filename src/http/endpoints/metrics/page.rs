//! The page of metrics, written one family after the other.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Result, TextEncoder};

/// See the module.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    /// A family that only grows; its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    /// A family that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Family { page: self, family, kind }
    }

    /// Adds families that are complete.
    pub(super) fn add(&mut self, families: Vec<MetricFamily>) {
        self.families.extend(families);
    }

    /// The page in Prometheus's text format.
    pub(super) fn text(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.families)
    }
}

/// A family without its values.
pub(super) struct Family<'p> {
    page: &'p mut Page,
    family: MetricFamily,
    kind: MetricType,
}

impl Family<'_> {
    /// Writes its one value.
    pub(super) fn is(self, value: impl MetricValue) {
        self.put([(Vec::new(), value.number())]);
    }

    /// Writes one value for each value of a label. Without any, the family is left out.
    pub(super) fn by<'l, F: MetricValue>(self, label: &str, values: impl IntoIterator<Item = (&'l str, F)>) {
        let labelled = |(text, value): (&str, F)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.to_owned());
            pair.set_value(text.to_owned());
            (vec![pair], value.number())
        };
        self.put(values.into_iter().map(labelled));
    }

    fn put(mut self, values: impl IntoIterator<Item = (Vec<LabelPair>, f64)>) {
        for (labels, value) in values {
            let mut metric = Metric::from_label(labels);
            if self.kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            self.family.mut_metric().push(metric);
        }
        if !self.family.get_metric().is_empty() {
            self.page.families.push(self.family);
        }
    }
}

/// A value of a metric. Counts above 2^53 lose their last digits; no daemon gets there.
pub(super) trait MetricValue {
    fn number(self) -> f64;
}

impl MetricValue for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl MetricValue for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

impl MetricValue for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl MetricValue for f64 {
    fn number(self) -> f64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_prometheuss_text_format() {
        let mut page = Page::default();
        page.counter("a_total", "It grows.").by("store", [("kafka", 2_u64), ("a\"b\\c\nd", 3)]);
        page.gauge("b", "It does not.").is(true);
        page.gauge("c", "Nothing.").by::<u64>("x", []);
        let expected = "# HELP a_total It grows.\n# TYPE a_total counter\na_total{store=\"kafka\"} 2\n\
                        a_total{store=\"a\\\"b\\\\c\\nd\"} 3\n# HELP b It does not.\n# TYPE b gauge\nb 1\n";
        assert_eq!(page.text().unwrap(), expected);
    }
}
