"""Suggestions for a person who has to name the columns of a file: the most plausible ones, and the command for them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from contracts import column_names, time_forms
from contracts.column_names import HELD, KEYS, NO_TIMES, OPTIONS, REQUIRED, normal
from contracts.layouts import Layout

#: Seconds of 1995 to 2033 since 1970, or the same in milli-, micro- or nanoseconds.
_SECONDS = re.compile(r"(?:[89][0-9]{8}|1[0-9]{9})(?:[0-9]{3}|[0-9]{6}|[0-9]{9}|[.,][0-9]+)?")
_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([T ].*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[0-9]+,[0-9]{1,2}")


#: The column that lines of orders share with orders.
_ORDER = re.compile("^(order|invoice|transaction|basket|receipt|cart|purchase)(id|no|nr|number)?$")
#: Parts of names, for suggestions: the first expressions before the others.
_HINTS = {
    "user": (
        re.compile("userid|customerid|clientid|visitorid|memberid|kundennr|kundennummer|uniqueid"),
        re.compile("user|cust|client|visitor|member|person|buyer|shopper|email|pseudoid|kunde|acheteur|usuario|utente"),
        re.compile("session|account|anonymous|device|profile|household"),
    ),
    "item": (
        re.compile("itemid|productid|articleid|sku|asin|isbn|itemno|artikelnr|artikelnummer"),
        re.compile("item|prod|articl|artik|movie|track|book|game|song|artist|stock|listing|offer|goods|venue|busines"),
    ),
    "timestamp": (
        re.compile("timestamp|datetime|createdat|eventtime|orderdate"),
        re.compile("time|date|when|created|datum|fecha|zeit"),
    ),
    "event_type": (re.compile("event|action|type|kind|behavio"),),
    "weight": (re.compile("quantity|qty|rating|menge|anzahl|cantidad|score|amount|weight"),),
}
#: Parts of the names of columns that hold no ids of people and items, whatever else the name has.
_NO_ID = re.compile(
    "quantity|qty|price|amount|total|cost|tax|discount|status|message|country|city|zip|order|bestell|commande|pedido|"
    "invoice|transaction|seller|index|offset|timezone|employee|empleado|birth|gender|^sex|age$|type|category|"
    "(?<!ac)count|number$|url|image|timestamp|date$|time$|datum|fecha"
)
#: Likewise, unless the name says that it is of an item.
_TEXT = re.compile("title|name|description")
_NO_TIME = re.compile("timezone|offset|transtime|duration|timeon|birth|due|until|updated|deleted|cancel|paid|fulfilled")


def plausible(
    layout: Layout, found: Mapping[str, str], guesses: Mapping[str, Sequence[str]], needed: Collection[str]
) -> dict[str, str]:
    """The most plausible column of each of the meanings `needed`: those found, the candidates by name (`guesses`), then
    columns whose names say it, and free ones that fit. A column of people or items has several values, some of them
    again.
    """
    suggestion = dict(found)
    values = {name: [row[place] for row in layout.rows if row[place]] for place, name in enumerate(layout.names)}

    def is_text(name: str) -> bool:
        return _TEXT.search(normal(name)) is not None

    def free(fits: Callable[[str], object]) -> list[str]:
        return [name for name, texts in values.items() if name and texts and all(fits(text) for text in texts)]

    for meaning in ("timestamp", "user", "item", "event_type", "weight"):
        if meaning in suggestion or meaning not in needed:
            continue
        candidates = list(guesses.get(meaning, []))
        possible = [name for name in layout.names if _may_be(meaning, name, layout, values[name])]
        for hint in _HINTS[meaning] if layout.has_header else ():
            fitting = [name for name in possible if hint.search(normal(name))]
            candidates += sorted(fitting, key=lambda name: (is_text(name), not _repeats(values[name])))
        if meaning == "timestamp":
            candidates += free(_may_be_time)
        elif meaning != "weight":
            fitting = free(lambda text: not _may_be_time(text) and "." not in text)
            candidates += [name for name in fitting if name in possible and not is_text(name)]
        suggestion.update([(meaning, name) for name in candidates if name not in suggestion.values()][:1])
    return {meaning: suggestion[meaning] for meaning in OPTIONS if meaning in suggestion}


def _may_be(meaning: str, name: str, layout: Layout, texts: Sequence[str]) -> bool:
    """Whether a column with these values, of which none is missing, may have the meaning."""
    own = normal(name)
    if layout.rows and not texts:
        return False
    if meaning == "timestamp":
        return not _NO_TIME.search(own)
    if meaning == "weight":
        return is_numeric(name, layout.names, layout.rows)
    others = _HINTS["item" if meaning == "user" else "user"]
    is_other = any(hint.search(own) for hint in others) and not any(hint.search(own) for hint in _HINTS[meaning])
    return meaning == "event_type" or not (_NO_ID.search(own) or is_other or name in layout.nested)


def _may_be_time(text: str) -> bool:
    return bool(_SECONDS.fullmatch(text) or _DATE.fullmatch(text) or time_forms.patterns_of([text]))


def _repeats(texts: Sequence[str]) -> bool:
    """Whether there are several values, and some of them several times."""
    return 1 < len(set(texts)) < len(texts)


def join(layouts: Mapping[str, Layout]) -> str | None:
    """How to join the lines of orders, which have items, with the orders, which have people; None if no file has people
    and items, and two have an order in common.
    """
    known = {
        path: column_names.candidates(layout.names) for path, layout in layouts.items() if layout.kind == "delimited"
    }
    if any(found["user"] and found["item"] for found in known.values()):
        return None
    for lines in (path for path, found in known.items() if found["item"]):
        own = {normal(name): name for name in layouts[lines].names}
        for orders in (path for path, found in known.items() if found["user"]):
            names = {normal(name): name for name in layouts[orders].names}
            keys = [(own[key], names[key]) for key in own if key in names and _ORDER.search(key)]
            keys += [(own[key], names["id"]) for key in own if _ORDER.search(key) and "id" in names]
            if keys:
                left, right = (
                    f"pd.read_csv({path!r}, sep={layouts[path].separator!r}, dtype=str)" for path in (lines, orders)
                )
                on = f"left_on={keys[0][0]!r}, right_on={keys[0][1]!r}, suffixes=('_of_line', '')"
                code = f"import pandas as pd; {left}.merge({right}, {on}).to_csv('joined.csv', index=False)"
                return (
                    f"the people are in {orders} and the items in {lines}: join them in their folder, and use "
                    f'joined.csv instead: python3 -c "{code}"'
                )
    return None


_IF_RIGHT = "if these are right"
#: The variables of `make demo` for what a person says beside columns, by the keys of `_drop.json`.
_OTHERS = {
    "timestampFormat": "TIME_FORMAT", "eventTypes": "TYPES", "eventWeights": "WEIGHTS", "leastValue": "LEAST",
    "values": "VALUES", "halfLifeDays": "HALF_LIFE", "boughtTypes": "BOUGHT", "kind": "KIND", "historyDays": "DAYS",
    "split": "SPLIT",
}  # fmt: skip


def remedy(
    suggestion: Mapping[str, str], data: str | None = None, said: Mapping[str, object] = MappingProxyType({})
) -> str:
    """What to do about it, as a sentence: the call of `make demo` for the file or folder `data`; without `data`, the
    drop's `_drop.json` too. `said`: what the person has said, by the keys of `_drop.json`.
    """
    if not suggestion:
        return "name a column that the file has, or its position from 1"
    missing = [HELD[meaning] for meaning in REQUIRED if meaning not in suggestion]
    if missing and missing != ["times"]:
        return f"no column looks like {' and '.join(missing)}: name it if there is one, or add it to the file"
    if "weight" not in suggestion and ("leastValue" in said or said.get("values") == "multiply"):
        return "no column has numbers alone that look like weights: name it by WEIGHT, or leave out LEAST and VALUES"
    named = {**suggestion, **({"timestamp": NO_TIMES} if missing else {})}
    reason = "if there are no times, and a draw may decide what each person is tested on" if missing else _IF_RIGHT
    if "time_format" in suggestion:
        reason = f"if {suggestion['time_format']} is their form"
    call = f"{reason}: {command(data or 'PATH', named, said)}"
    return call if data else f"{call}; in a drop on AWS, the same in its _drop.json: {document(named)}"


def command(data: str, suggestion: Mapping[str, str], said: Mapping[str, object] = MappingProxyType({})) -> str:
    """The call of `make demo` that names the columns of `suggestion`, and says the rest of what was `said`."""
    found = {option: suggestion.get(meaning) or said.get(KEYS[meaning]) for meaning, option in OPTIONS.items()}
    others = {option: said.get(key) for key, option in _OTHERS.items()}
    others |= {"TIME_FORMAT": suggestion["time_format"]} if "time_format" in suggestion else {}
    named = [f"{option}={_word(str(value))}" for option, value in (found | others).items() if value is not None]
    return " ".join(["make demo", f"DATA={_word(data)}", *named])


def document(suggestion: Mapping[str, str]) -> str:
    """The same in a drop, as the text of its `_drop.json`."""
    keys = KEYS | {"time_format": "timestampFormat"}
    named = {key: suggestion[meaning] for meaning, key in keys.items() if meaning in suggestion}
    return json.dumps({"schemaVersion": "1.0", **named}, ensure_ascii=False)


def _word(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def is_numeric(name: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    position = list(names).index(name)
    return all(_NUMBER.fullmatch(row[position]) for row in rows)


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)[:60]


def shown(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:30])) or "no column"


def columns_of(layout: Layout) -> str:
    if layout.kind == "delimited" and len(layout.names) == 1:
        return f"one column, {shown(layout.names)}: no comma, semicolon, tab, pipe or :: separates others"
    if layout.has_header or not layout.rows:
        return f"the columns {shown(layout.names)}"
    pairs = zip(layout.names[:30], layout.rows[0], strict=False)
    return f"no header; its first row is {', '.join(f'{name}: {printable(value)}' for name, value in pairs)}"
