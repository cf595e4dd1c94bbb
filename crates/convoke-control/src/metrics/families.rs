//! Building Prometheus metric families by hand.
//!
//! Owns: the few shapes that are used.
//! Never: names a metric.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Collects families.
#[derive(Debug, Default)]
pub(crate) struct Families {
    pub(crate) all: Vec<MetricFamily>,
}

/// Label name and value.
pub(crate) type Label = (&'static str, &'static str);

impl Families {
    /// One gauge.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.family(name, help, MetricType::GAUGE, vec![Metric::from_gauge(gauge)]);
    }

    /// One counter.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.counters(name, help, [(&[][..], value)]);
    }

    /// A counter for each set of labels.
    pub(crate) fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'a [Label], f64)>,
    ) {
        let metric = |(labels, value): (&[Label], f64)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = Metric::from_label(labels.iter().map(pair).collect());
            metric.set_counter(counter);
            metric
        };
        let metrics = samples.into_iter().map(metric).collect();
        self.family(name, help, MetricType::COUNTER, metrics);
    }

    /// A counter for each value of one label.
    pub(crate) fn by_label(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        samples: impl IntoIterator<Item = (&'static str, f64)>,
    ) {
        let samples: Vec<([Label; 1], f64)> =
            samples.into_iter().map(|(value, count)| ([(label, value)], count)).collect();
        self.counters(
            name,
            help,
            samples.iter().map(|(labels, count)| (labels.as_slice(), *count)),
        );
    }

    /// A histogram of `counts` per bucket (not cumulated).
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        counts: &[AtomicU64],
        count: u64,
        sum: f64,
    ) {
        let mut seen = 0;
        let bucket = |(bound, own): (&f64, &AtomicU64)| {
            seen += own.load(Relaxed);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(seen);
            bucket
        };
        let buckets: Vec<Bucket> = bounds.iter().zip(counts).map(bucket).collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count.max(seen));
        histogram.set_sample_sum(sum);
        let mut metric = Metric::from_label(Vec::new());
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.all.push(family);
    }
}

fn pair((name, value): &Label) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value((*value).to_owned());
    pair
}
