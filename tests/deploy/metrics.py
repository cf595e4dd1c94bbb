#!/usr/bin/env python3
"""Dashboards and alerts name only metrics, labels and values that the server exports, in PromQL that parses.

Takes promtool and the text of a scrape. Also: each alert has its paragraph in docs/operating.md.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ALERTS = Path("deploy/prometheus/alerts.yml")
DASHBOARDS = sorted(Path("deploy/grafana").glob("*.json"))
TESTS = Path("tests/deploy/alerts.test.yml")
# What Prometheus itself adds to a series.
ADDED = {"instance", "job", "alertname", "alertstate"}


def scrape(text: str) -> dict[str, dict[str, set[str]]]:
    """Of every series name its labels, and of every label its values."""
    series: dict[str, dict[str, set[str]]] = {}
    for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", text, flags=re.M):
        known = series.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            known.setdefault(label, set()).add(value)
    return series


def check(where: str, expr: str, series) -> list[str]:
    wrong = []
    for name, labels in re.findall(r"\b(convoke_\w+)(?:\{([^}]*)\})?", expr):
        if name not in series:
            wrong.append(f"{where}: {name} is not exported")
            continue
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', labels):
            if label in ADDED:
                continue
            values = series[name].get(label)
            if values is None:
                wrong.append(f"{where}: {name} has no label {label}")
                continue
            named = value.split("|") if "~" in operator else [value]
            wrong += [f"{where}: {name} has no {label}={one!r}" for one in named if one not in values]
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", expr)
    names = re.findall(r"\bconvoke_\w+", expr)
    had = set().union(*(series.get(name, {}).keys() for name in names)) if names else set()
    for label in (label.strip() for group in grouped for label in group.split(",")):
        if label not in had | ADDED:
            wrong.append(f"{where}: nothing in it has the label {label}")
    return wrong


def dashboard(path: Path) -> list[tuple[str, str]]:
    """Where, and which query."""
    board = json.loads(path.read_text())
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)), f"{path}: ids of panels are not unique"
    cells = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, f"{path}: {panel['title']} is off the grid"
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, f"{path}: {panel['title']} lies over another panel"
        cells |= own
        for part in [panel, *panel.get("targets", [])]:
            if panel["type"] != "row":
                assert part["datasource"]["uid"] == "${datasource}", f"{path}: {panel['title']}: datasource"
    queries = [(f"{path}: {p['title']}", t["expr"]) for p in panels for t in p.get("targets", [])]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            queries.append((f"{path}: ${variable['name']}", variable["query"]["query"]))
    return queries


def parses(promtool: str, queries: list[tuple[str, str]]) -> None:
    """Hands the queries to promtool as recording rules: it parses them as Prometheus does."""
    rules = []
    for at, (_, expr) in enumerate(q for q in queries if not q[1].startswith("label_values(")):
        for variable, value in {"$__rate_interval": "1m", "$__range": "1h", "$instance": ".+"}.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr, f"unknown variable: {expr}"
        rules.append({"record": f"check:{at}", "expr": expr})
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        subprocess.run([promtool, "check", "rules", file.name], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    promtool, text = sys.argv[1], Path(sys.argv[2]).read_text()
    subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True)
    series = scrape(text)
    documented = set(re.findall(r"^\| `(convoke_\w+)`", Path("crates/convoke-control/METRICS.md").read_text(), re.M))
    exported = set(re.findall(r"^# TYPE (convoke_\w+) ", text, re.M))
    if "process_resident_memory_bytes" not in text:
        sys.exit("the scrape has nothing of the process")
    wrong = [f"METRICS.md and the scrape differ: {name}" for name in documented ^ exported]

    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    runbook = Path("docs/operating.md").read_text()
    tests = TESTS.read_text()
    for rule in rules:
        name = rule["alert"]
        if f"\n### {name}\n" not in runbook:
            wrong.append(f"{name}: docs/operating.md has no paragraph")
        if rule["annotations"]["runbook"] != f"docs/operating.md#{name.lower()}":
            wrong.append(f"{name}: its runbook is not its own")
        if name not in tests:
            wrong.append(f"{name}: no test fires it")
        wrong += check(name, rule["expr"], series)
    wrong += [f"docs/operating.md: no alert {name}"
              for name in re.findall(r"^### (Convoke\w+)$", runbook, re.M) if name not in names]

    queries = [query for path in DASHBOARDS for query in dashboard(path)]
    for where, expr in queries:
        wrong += check(where, expr, series)
    parses(promtool, queries)
    print("\n".join(wrong) or f"metrics: {len(exported)} exported; {len(names)} alerts and {len(queries)} "
          "queries of dashboards name nothing else")
    return 1 if wrong or not queries else 0


if __name__ == "__main__":
    sys.exit(main())
