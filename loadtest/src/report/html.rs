//! `report.html`: one page with everything in it.
//!
//! Owns: tables and plots (inline SVG).
//! Never: needs a network, a script or a font of its own.

use std::fmt::Write;

use serde_json::Value;

use super::{Moment, Report};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 10.0;
const COLOURS: [&str; 4] = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700"];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:52rem;\
padding:0 1rem;color:#1f2328;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;\
margin-top:2rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem;\
border-bottom:1px solid #d1d9e0}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
.bad{color:#d1242f;font-weight:600}.good{color:#1a7f37}svg{width:100%;height:auto}\
svg text{font:11px system-ui,sans-serif;fill:#59636e}.note{color:#59636e}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as people read it.
fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e9 => format!("{:.2}G", value / 1e9),
        _ if size >= 1e6 => format!("{:.2}M", value / 1e6),
        _ if size >= 1e4 => format!("{:.1}k", value / 1e3),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "<span class=good>yes</span>".to_owned(),
        Value::Bool(false) => "<span class=bad>no</span>".to_owned(),
        Value::Number(n) => n.as_f64().map(number).unwrap_or_default(),
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    }
}

/// One row for each key, one column for each target.
fn table(title: &str, names: &[&str], columns: &[Value]) -> String {
    let mut out = format!("<h2>{}</h2><table><tr><th></th>", escape(title));
    for name in names {
        let _ = write!(out, "<th class=n>{}</th>", escape(name));
    }
    out.push_str("</tr>");
    let first = columns.first().and_then(Value::as_object);
    for key in first.into_iter().flat_map(|object| object.keys()) {
        let cells: Vec<&Value> =
            columns.iter().map(|column| column.get(key).unwrap_or(&Value::Null)).collect();
        if cells.iter().all(|cell| cell.is_array()) {
            continue;
        }
        if cells.iter().any(|cell| cell.get("p50").is_some()) {
            for part in ["p50", "p95", "p99", "max"] {
                let parts = cells.iter().map(|cell| cell.get(part).unwrap_or(&Value::Null));
                row(&mut out, &format!("{key} {part}"), parts);
            }
        } else if cells.iter().all(|cell| !cell.is_object()) {
            row(&mut out, key, cells.into_iter());
        }
    }
    out.push_str("</table>");
    out
}

fn row<'a>(out: &mut String, key: &str, cells: impl Iterator<Item = &'a Value>) {
    let _ = write!(out, "<tr><td>{}</td>", escape(&key.replace('_', " ")));
    for value in cells {
        let _ = write!(out, "<td class=n>{}</td>", cell(value));
    }
    out.push_str("</tr>");
}

/// A line of a plot: its name and its points.
type Line = (String, Vec<(f64, f64)>);

fn plot(title: &str, lines: &[Line], from: f64) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let x_max = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let y_max = points().map(|(_, y)| *y).fold(0.0, f64::max);
    if points().next().is_none() {
        return String::new();
    }
    let y_max = if y_max > 0.0 { y_max * 1.05 } else { 1.0 };
    let x = |value: f64| LEFT + value / x_max * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - BOTTOM - TOP);
    let mut out = format!(
        "<h2>{}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{}\">",
        escape(title),
        escape(title)
    );
    let shade = x(from.min(x_max)) - LEFT;
    let height = HEIGHT - BOTTOM - TOP;
    let _ =
        write!(out, "<rect x={LEFT} y={TOP} width={shade:.1} height={height} fill=\"#f6f8fa\"/>");
    for step in 0..=4 {
        let value = y_max * f64::from(step) / 4.0;
        let (at, label) = (y(value), number(value));
        let right = WIDTH - RIGHT;
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#d1d9e0\"/>\
             <text x={} y={:.1} text-anchor=end>{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for step in 0..=5 {
        let value = x_max * f64::from(step) / 5.0;
        let at = HEIGHT - 8.0;
        let _ =
            write!(out, "<text x={:.1} y={at} text-anchor=middle>{value:.0} s</text>", x(value));
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or("black");
        let path: Vec<String> =
            points.iter().map(|(a, b)| format!("{:.1} {:.1}", x(*a), y(*b))).collect();
        let joined = path.join("L");
        let at = LEFT + 8.0 + 170.0 * index as f64;
        let _ = write!(
            out,
            "<path d=\"M{joined}\" fill=none stroke=\"{colour}\" stroke-width=1.5 />\
             <text x={at} y={} style=\"fill:{colour}\">{}</text>",
            TOP + 10.0,
            escape(name)
        );
    }
    out.push_str("</svg>");
    out
}

fn line(report: &Report, name: &str, of: impl Fn(&Moment) -> Option<f64>) -> Line {
    let points = report.timeline.iter().filter_map(|moment| Some((moment.at, of(moment)?)));
    let name =
        if name.is_empty() { report.target.clone() } else { format!("{} {name}", report.target) };
    (name, points.collect())
}

fn plots(reports: &[&Report]) -> String {
    type Of = fn(&Moment) -> Option<f64>;
    let all: [(&str, Of); 8] = [
        ("Callers in their calls", |m| Some(m.callers as f64)),
        ("Packets received in a second", |m| Some(m.received_packets_per_second)),
        ("Forwarding delay, p99 (ms)", |m| m.delay_ms_p99),
        ("Forwarding delay, p50 (ms)", |m| m.delay_ms_p50),
        ("Freezes and gaps in a second", |m| Some((m.freezes + m.audio_gaps) as f64)),
        ("Processor time of the server (cores)", |m| m.server_cpu_cores),
        ("Memory of the server (bytes)", |m| m.server_rss_bytes.map(|bytes| bytes as f64)),
        ("How late the load test's own timers were, p99 (ms)", |m| m.lag_ms_p99),
    ];
    let from = reports.first().map_or(0.0, |report| report.measured[0]);
    let draw = |(title, of): &(&str, Of)| {
        let lines: Vec<Line> = reports.iter().map(|report| line(report, "", of)).collect();
        plot(title, &lines, from)
    };
    all.iter().map(draw).collect()
}

fn validity(report: &Report) -> String {
    if report.harness.invalid.is_empty() {
        return String::new();
    }
    let reasons = escape(&report.harness.invalid.join("; "));
    let target = escape(&report.target);
    format!("<p class=bad>{target}: these figures are not valid: {reasons}.</p>")
}

fn expectations(report: &Report) -> String {
    if report.expectations.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "<h2>Expectations: {}</h2><table><tr><th>bound</th><th class=n>wanted</th>\
         <th class=n>measured</th><th>holds</th></tr>",
        escape(&report.target)
    );
    for verdict in &report.expectations {
        let value = verdict.value.map_or("–".to_owned(), number);
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=n>{}</td><td class=n>{value}</td><td>{}</td></tr>",
            escape(&verdict.name),
            number(verdict.bound),
            cell(&Value::Bool(verdict.holds))
        );
    }
    out.push_str("</table>");
    out
}

/// The page: these reports of one scenario beside each other, and the targets that there are none
/// of, with the reason.
#[must_use]
pub fn page(reports: &[&Report], absent: &[(String, String)]) -> String {
    let names: Vec<&str> = reports.iter().map(|report| report.target.as_str()).collect();
    let column = |of: fn(&Report) -> serde_json::Result<Value>| -> Vec<Value> {
        reports.iter().map(|report| of(report).unwrap_or_default()).collect()
    };
    let mut body = String::new();
    if let Some(first) = reports.first() {
        let machine = &first.machine;
        let _ = write!(
            body,
            "<h1>Load test: {}</h1><p>{}</p><p class=note>{} processors ({}), Linux {}; measured for \
             {:.0} s after {:.0} s (shaded).</p>",
            escape(&first.scenario),
            escape(&first.settings.description),
            machine.processors,
            escape(&machine.processor),
            escape(&machine.kernel),
            first.measured[1],
            first.measured[0]
        );
    }
    for (target, reason) in absent {
        let (target, reason) = (escape(target), escape(reason));
        let _ = write!(body, "<p class=bad>{target} was not measured: {reason}</p>");
    }
    reports.iter().for_each(|report| body.push_str(&validity(report)));
    body.push_str(&table("Summary", &names, &column(|r| serde_json::to_value(&r.summary))));
    reports.iter().for_each(|report| body.push_str(&expectations(report)));
    body.push_str(&plots(reports));
    body.push_str(&table("Joins", &names, &column(|r| serde_json::to_value(&r.joins))));
    body.push_str(&table("Media", &names, &column(|r| serde_json::to_value(&r.media))));
    body.push_str(&table("Losses", &names, &column(|r| serde_json::to_value(&r.loss))));
    body.push_str(&table("Server", &names, &column(|r| serde_json::to_value(&r.server))));
    body.push_str(&table("Load test", &names, &column(|r| serde_json::to_value(&r.harness))));
    for report in reports {
        for (kind, example) in &report.joins.error_examples {
            let count = report.joins.errors.get(kind).copied().unwrap_or(0);
            let (kind, example) = (escape(kind), escape(example));
            let _ = write!(body, "<p class=note>{count} &times; {kind}, such as: {example}</p>");
        }
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>Load test</title><style>{STYLE}</style>{body}</html>\n"
    )
}
