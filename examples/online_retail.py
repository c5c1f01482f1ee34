"""Make drops of the UCI Online Retail data: `.venv/bin/python examples/online_retail.py data.csv ../retail`.

https://archive.ics.uci.edu/dataset/352/online+retail has the file (Daqing Chen, CC BY 4.0): 541,909 invoice lines of a
British gift shop, December 2010 to December 2011. It is read as the CSV of UCI's Python import, as Excel (the button
`Download`; needs `.venv/bin/pip install python-calamine`), or as Parquet. The folder gets

- `summer.csv`: the lines of June, July and August 2011;
- `september.csv`, `october.csv`: what came next;
- `products.csv`: each product with its usual description, its median price, and a category by that price.

Postage, fees and vouchers are left out: the code of a product begins with five digits.
"""

import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

SALES = ["CustomerID", "StockCode", "Quantity", "InvoiceDate"]
LINES = pa.schema(
    {"Description": pa.string(), "UnitPrice": pa.float64()}
    | dict(zip(SALES, [pa.string(), pa.string(), pa.int64(), pa.timestamp("s")], strict=True))
)
PARTS = {"summer": (2011, 6), "september": (2011, 9), "october": (2011, 10)}
END = datetime(2011, 11, 1)
CATEGORIES = {1: "under 1 pound", 3: "1 to 3 pounds"}
DEAREST = "over 3 pounds"


def read(path: Path) -> pa.Table:
    """The lines, in the order of time."""
    if path.suffix == ".parquet":
        table = parquet.read_table(path, columns=LINES.names)
    elif path.suffix == ".xlsx":
        from python_calamine import CalamineWorkbook

        head, *rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()
        cells = dict(zip(map(str, head), zip(*rows, strict=True), strict=True))
        cells |= {name: tuple(map(_text, cells[name])) for name in ("CustomerID", "StockCode", "Description")}
        table = pa.table({name: list(cells[name]) for name in LINES.names})
    else:
        forms = ["%m/%d/%Y %H:%M", csv.ISO8601]
        table = csv.read_csv(
            path,
            convert_options=csv.ConvertOptions(
                column_types=LINES, include_columns=LINES.names, timestamp_parsers=forms, strings_can_be_null=True
            ),
        )
    customers = pc.replace_substring_regex(table["CustomerID"].cast(pa.string()), r"\.0$", "")
    table = table.set_column(table.schema.get_field_index("CustomerID"), "CustomerID", customers)
    return table.select(LINES.names).cast(LINES).sort_by("InvoiceDate")


def _text(cell: Any) -> str | None:
    """A cell of Excel as text: a code of digits alone is a number there."""
    return str(int(cell)) if isinstance(cell, float) else str(cell) or None


def products(lines: pa.Table) -> pa.Table:
    """Each product that was sold: id, title, price and category."""
    titles, prices = defaultdict[str, Counter[str]](Counter), defaultdict[str, list[float]](list)
    sold = lines.filter((pc.field("Quantity") > 0) & (pc.field("UnitPrice") > 0))
    columns = [sold[name].to_pylist() for name in ("StockCode", "Description", "UnitPrice")]
    for code, title, price in zip(*columns, strict=True):
        titles[code][title.strip()] += 1
        prices[code].append(price)
    rows = []
    for code in sorted(titles):
        price = round(median(prices[code]), 2)
        category = next((name for limit, name in CATEGORIES.items() if price < limit), DEAREST)
        rows.append({"id": code, "title": titles[code].most_common(1)[0][0], "price": price, "category": category})
    return pa.Table.from_pylist(rows)


def main(source: Path, folder: Path) -> None:
    lines = read(source)
    lines = lines.filter(pc.match_substring_regex(lines["StockCode"], "^[0-9]{5}"))
    begins = [datetime(year, month, 1) for year, month in PARTS.values()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, begin, end in zip(PARTS, begins, [*begins[1:], END], strict=True):
        time = lines["InvoiceDate"]
        own = lines.filter(pc.and_(pc.greater_equal(time, pa.scalar(begin)), pc.less(time, pa.scalar(end))))
        csv.write_csv(own.select(SALES), folder / f"{name}.csv")
        print(f"{folder / name}.csv: {own.num_rows:,} lines")
    catalogue = products(lines)
    csv.write_csv(catalogue, folder / "products.csv")
    print(f"{folder / 'products.csv'}: {catalogue.num_rows:,} products")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FILE FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
