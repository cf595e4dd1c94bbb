//! Building Prometheus metric families by hand.
//!
//! Owns: the few shapes that are used.
//! Never: names a metric.

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
        counts: &[u64],
        count: u64,
        sum: f64,
    ) {
        self.histograms(name, help, bounds, [(&[][..], counts, count, sum)]);
    }

    /// The same for each set of labels: with counts per bucket, their number and their sum.
    pub(crate) fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        samples: impl IntoIterator<Item = (&'a [Label], &'a [u64], u64, f64)>,
    ) {
        let metric = |sample| histogram(bounds, sample);
        let metrics = samples.into_iter().map(metric).collect();
        self.family(name, help, MetricType::HISTOGRAM, metrics);
    }

    /// A gauge for each value of one label, which the configuration names.
    pub(crate) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        samples: Vec<(String, f64)>,
    ) {
        let metric = |(value, gauge): (String, f64)| {
            let mut set = Gauge::default();
            set.set_value(gauge);
            let mut metric = Metric::from_label(vec![pair(&(label, &value))]);
            metric.set_gauge(set);
            metric
        };
        let metrics = samples.into_iter().map(metric).collect();
        self.family(name, help, MetricType::GAUGE, metrics);
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

fn pair((name, value): &(&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value((*value).to_owned());
    pair
}

fn histogram(bounds: &[f64], (labels, counts, count, sum): (&[Label], &[u64], u64, f64)) -> Metric {
    let mut seen = 0;
    let bucket = |(bound, own): (&f64, &u64)| {
        seen += own;
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
    let mut metric = Metric::from_label(labels.iter().map(pair).collect());
    metric.set_histogram(histogram);
    metric
}
