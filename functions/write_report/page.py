"""The report: one self-contained HTML file, in light or dark colours by the reader's preference. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from contracts.lines import Epoch
from contracts.outcomes import Counts
from contracts.values import is_integer, is_number
from shared.records import RunStatus
from write_report.facts import COUNTS, Facts, timeline

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --ground: #fff; --good: #18794e;
  --bad: #b42318; --mark: #0b68cb; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #363a3f; --ground: #111113;
  --good: #3dd68c; --bad: #ff9592; --mark: #70b8ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.status { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; } td.n, th.n { text-align: right; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
svg polyline { fill: none; stroke: var(--mark); stroke-width: 2; } svg line { stroke: var(--line); }
"""
_ENDINGS: dict[str, tuple[str, str]] = {
    RunStatus.DEPLOYED: ("good", "its model serves"),
    RunStatus.REJECTED: ("", "its model was rejected; the earlier model keeps serving"),
    RunStatus.UNCHANGED: ("", "its model equals the serving one in every figure, which keeps serving"),
    RunStatus.ROLLED_BACK: ("bad", "its model was rolled back"),
    RunStatus.FAILED: ("bad", "the run failed"),
    RunStatus.ABORTED: ("", "the run was stopped"),
}
_NAMES = {
    "interactions": "interactions", "users": "users", "items": "items", "train": "in train", "test": "in test",
    "quarantined": "quarantined", "duplicates": "duplicates", "belowSupport": "below minimum support",
    "coldTestItems": "test items without training interactions", "tiedTestUsers": "users whose test a tie decided",
    "repeats": "repeated purchases after the moment", "newTestUsers": "test users without training interactions",
    "withdrawnItems": "withdrawn items, not recommended",
    "catalogueItems": "new items of the catalogue, without interactions",
}  # fmt: skip
_LARGE_TIED_SHARE = 0.5
_SLICES = {
    "unknownUsers": "unknown users", "knownUsers": "known users",
    "newUsers": "new users", "heavyUsers": "heavy users", "headItems": "popular items", "tailItems": "rare items",
    "newItems": "items without interactions in train",
    "withRepeats": "with items that users had before",
}  # fmt: skip


def render(facts: Facts) -> str:
    """Return the report as HTML."""
    run = facts.run
    run_id = str(run.get("runId"))
    css, words = _ENDINGS.get(str(run.get("status")), ("", "the run has not ended"))
    parts = [
        f"<h1>Run {escape(run_id)}</h1>",
        f'<p><span class="status {css}">{escape(str(run.get("status")))}</span>: {escape(words)}.</p>',
        _reasons(run.get("reasons") or []),
        _section("Data", _data(facts)),
        _section("Training", _training(facts.epochs)),
        _section("Hyperparameter search", _search(facts.report)),
        _section("Gate", _gate(facts)),
        _section("Models on the same test set", _models(facts.report)),
        _section("User and item slices: NDCG", _slices(facts.report)),
        _section("What its recommendations earned", _earned(facts)),
        _section("Timeline", _timeline(facts)),
        _section("Training cost", _cost(facts)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Run {escape(run_id)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""


def _reasons(reasons: Iterable[Any]) -> str:
    items = "".join(f"<li>{escape(str(reason))}</li>" for reason in reasons)
    return f"<ul>{items}</ul>" if items else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: int = 1) -> str:
    """Return a table. Cells are escaped unless they begin with `<span`. Columns from `numeric` on are numbers."""

    def cell(kind: str, position: int, text: str) -> str:
        css = ' class="n"' if position >= numeric else ""
        return f"<{kind}{css}>{text if text.startswith('<span') else escape(text)}</{kind}>"

    def row(kind: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(cell(kind, position, text) for position, text in enumerate(cells)) + "</tr>"

    return "<table>" + row("th", head) + "".join(row("td", cells) for cells in rows) + "</table>"


def _data(facts: Facts) -> str:
    if facts.manifest is None:
        return ""
    now = facts.manifest.get("counts", {})
    before = (facts.before or {}).get("counts", {})
    rows: list[tuple[str, ...]] = []
    for name in COUNTS:
        value, earlier = now.get(name), before.get(name)
        change = f"{value - earlier:+,}" if isinstance(value, int) and isinstance(earlier, int) else ""
        rows.append((_NAMES[name], _whole(value), _whole(earlier), change))
    version = escape(str(facts.manifest.get("datasetVersion")))
    compared = f" compared with {escape(str(facts.before.get('datasetVersion')))}" if facts.before else ""
    head: tuple[str, ...] = ("", "now", "before", "change")
    if facts.before is None:
        head, rows = head[:2], [row[:2] for row in rows]
    return f'<p class="soft">{version}{compared}</p>' + _table(head, rows)


def _training(epochs: Sequence[Epoch]) -> str:
    if not epochs:
        return ""
    losses = [(epoch.epoch, epoch.loss) for epoch in epochs]
    chart = _chart(losses, "training loss")
    validated = [(epoch.epoch, epoch.validation_ndcg) for epoch in epochs if epoch.validation_ndcg is not None]
    return chart + (_chart(validated, "validation NDCG") if validated else "")


def _chart(points: Sequence[tuple[int, float]], title: str) -> str:
    """Return a line chart over epochs, labelled with its first and last value."""
    width, height, left, right, top, bottom = 720, 210, 56, 70, 34, 28
    low, high = min(value for _, value in points), max(value for _, value in points)
    first, last = points[0][0], points[-1][0]

    def place(epoch: int, value: float) -> tuple[float, float]:
        across = (epoch - first) / (last - first) if last > first else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    line = " ".join("{:.1f},{:.1f}".format(*place(epoch, value)) for epoch, value in points)
    start, end = place(*points[0]), place(*points[-1])
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)} by epoch">'
        f'<text x="0" y="14">{escape(title)}</text>'
        f'<line x1="{left}" y1="{height - bottom}" x2="{width - right}" y2="{height - bottom}"/>'
        f'<polyline points="{line}"/>'
        f'<text x="{start[0] - 6:.1f}" y="{start[1] + 4:.1f}" text-anchor="end">{points[0][1]:.4f}</text>'
        f'<text x="{end[0] + 6:.1f}" y="{end[1] + 4:.1f}">{points[-1][1]:.4f}</text>'
        f'<text x="{left}" y="{height - 8}">epoch {first}</text>'
        f'<text x="{width - right}" y="{height - 8}" text-anchor="end">{last}</text></svg>'
    )


def _search(report: dict[str, Any] | None) -> str:
    search = (report or {}).get("search")
    if not isinstance(search, dict):
        return ""
    gain = search.get("gain") or {}
    rows = [
        ("trials, of which failed", f"{_whole(search.get('trials'))}, {_whole(search.get('failed'))}"),
        ("processor time", _seconds(search.get("cpuSeconds"))),
        ("time, and its limit", f"{_seconds(search.get('seconds'))}, {_seconds(search.get('budgetSeconds'))}"),
        ("NDCG on validation: as given", _rate(search.get("given"))),
        ("best of the trials", _rate(search.get("best"))),
        ("chosen", _rate(search.get("chosen"))),
        ("gain of the chosen one, ± error", f"{_rate(gain.get('mean'))} ± {_rate(gain.get('standardError'))}"),
    ]
    rows += [(str(name), str(text)) for name, text in (search.get("parameters") or {}).items()]
    return f'<p class="soft">{escape(str(search.get("sentence")))}</p>' + _table(("", ""), rows)


def _gate(facts: Facts) -> str:
    decision = facts.decisions.get("gate")
    if not decision:
        return ""
    figures = decision.get("figures") or {}
    rows = []
    for check in figures.get("checks") or []:
        passed = check.get("passed") is True
        verdict = f'<span class="{"good" if passed else "bad"}">{"pass" if passed else "fail"}</span>'
        sentence = str(check.get("sentence") or check.get("name"))
        rows.append((sentence, verdict, _rate(check.get("value")), _rate(check.get("threshold"))))
    policy = figures.get("policy") or {}
    source = f" by {policy.get('source')} (sha256 {str(policy.get('sha256'))[:12]}…)" if policy else ""
    people = f"; {figures['people']}" if figures.get("people") else ""
    line = f'<p class="soft">{escape(str(decision.get("verdict")))}{escape(source)}{escape(people)}</p>'
    return line + (_table(("check", "", "value", "limit"), rows, 2) if rows else "")


def _models(report: dict[str, Any] | None) -> str:
    rows = []
    for name, model in _measured(report):
        sampled, full = model.get("sampled", {}), model.get("full", {})
        error = model.get("standardErrors", {}).get("fullNdcg")
        figures = (full.get("ndcg"), error, full.get("hitRate"), model.get("coverage"))
        rows.append((name, *(_rate(value) for value in (*figures, sampled.get("ndcg"), sampled.get("hitRate")))))
    if not rows:
        return ""
    protocol = (report or {}).get("protocol", {})
    k, users = protocol.get("k", "k"), protocol.get("testUsers", "?")
    head = ("model", f"NDCG@{k}", "± error", f"HR@{k}", "coverage", f"sampled NDCG@{k}", f"sampled HR@{k}")
    line = (
        f"interactions of {users} users, withheld from training and ranked among all items; sampled: among "
        f"{protocol.get('negatives', '?')} items, for comparison with papers"
    )
    tied = protocol.get("tiedInteractions")
    if is_number(tied) and tied >= _LARGE_TIED_SHARE:
        line += f"; {tied:.0%} of the interactions have the time of another one of their user: their order is not known"
    return f'<p class="soft">{escape(line)}</p>' + _table(head, rows)


def _slices(report: dict[str, Any] | None) -> str:
    models = _measured(report)
    rows = []
    for name, words in _SLICES.items():
        found = [model.get("slices", {}).get(name) for _, model in models]
        if found and found[0]:
            figures = [_rate((slice_figures or {}).get("full", {}).get("ndcg")) for slice_figures in found]
            rows.append((words, _whole(found[0].get("users")), *figures))
    return _table(("", "users", *(name for name, _ in models)), rows) if rows else ""


def _measured(report: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    if report is None:
        return []
    models = [("candidate", report.get("candidate")), ("incumbent", report.get("incumbent"))]
    models += sorted((report.get("baselines") or {}).items())
    return [(name, model) for name, model in models if isinstance(model, dict)]


def _earned(facts: Facts) -> str:
    if not facts.earned:
        return ""
    rows = [
        (source, _whole(earned.impressions), _whole(earned.clicks), _rate(earned.rate), _whole(earned.purchases),
         f"{earned.value:,.2f}")
        for source, earned in [*facts.earned.items(), ("all", sum(facts.earned.values(), Counts()))]
    ]  # fmt: skip
    head = ("answers by source", "shown", "chosen", "chosen per shown", "bought", "value")
    return _table(head, rows)


def _timeline(facts: Facts) -> str:
    rows = [
        (what, when.replace("T", " ").removesuffix("Z"), "" if seconds is None else f"{seconds:,.0f} s")
        for what, when, seconds in timeline(facts)
    ]
    return _table(("", "UTC", "after"), rows, 2) if rows else ""


def _cost(facts: Facts) -> str:
    cost = facts.cost
    if cost is None:
        return ""
    machines = f"{cost.instances} × {cost.instance_type}" if cost.instances > 1 else cost.instance_type
    words = f"{machines}, {cost.billed_seconds:,} s billed (limit {cost.longest_seconds:,} s)"
    if cost.price > 0:
        words += f": {cost.actual:,.2f} USD (at most {cost.estimated:,.2f}) at {cost.price:g} USD per hour"
    else:
        words += "; set TrainingPricePerHour to see the cost"
    return f"<p>{escape(words)}</p>"


def _whole(value: Any) -> str:
    return f"{value:,}" if is_integer(value) else ""


def _seconds(value: Any) -> str:
    return f"{value:,.0f} s" if is_number(value) else ""


def _rate(value: Any) -> str:
    return f"{value:.4f}" if is_number(value) else ""
