"""Files of the shapes in the table of docs/how-to/file-shapes.md, and what becomes of each.

Unless a shape says otherwise, its rows are those of `ROWS`: ann had tea, then bob had a cup.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "file-shapes.md"

Row = tuple[str | None, ...]
ROWS: list[Row] = [("ann", "tea", "1700000000", None, "1"), ("bob", "cup", "1700000100", None, "1")]


@dataclass(frozen=True)
class Shape:
    """files: the contents by name. said: what the user says, by the keys of `_drop.json`. rows: user, item, time, event
    type and weight, as read; or words: of the refusal, if it is refused. on_laptop: `make demo` takes it, whatever a
    drop on AWS does.
    """

    files: dict[str, bytes | str]
    rows: Sequence[Row] = field(default_factory=lambda: ROWS)
    said: dict[str, str] = field(default_factory=dict)
    words: str = ""
    catalogue: Sequence[Row] = ()
    on_laptop: bool | None = None

    @property
    def is_refused(self) -> bool:
        return bool(self.words)

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def options(self) -> list[str]:
        """Options of `preprocess.py` for what the user says."""
        words = {name: "--" + re.sub("([A-Z])", r"-\1", name).lower() for name in self.said}
        return [word for name, value in self.said.items() for word in (words[name], value)]


def table() -> dict[str, str]:
    """The lines of the page's table: file → what happens."""
    lines = PAGE.read_text("utf-8").partition("## What happens to which file")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    return {file.replace("\\|", "|"): what for file, what in cells[2:]}


def with_weight(weight: str) -> list[Row]:
    return [(*row[:4], weight) for row in ROWS]


def with_event(event: str) -> list[Row]:
    return [(*row[:3], event, row[4]) for row in ROWS]


def text(separator: str, header: str = "user_id,item_id,timestamp") -> str:
    names = [header.replace(",", separator)] if header else []
    return "\n".join([*names, *(separator.join(map(str, row[:3])) for row in ROWS)]) + "\n"


def parquet(**columns: Any) -> bytes:
    target = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), target)
    return target.getvalue()


def _times(unit: str, zone: str | None = None) -> Any:
    seconds = pyarrow.array([1700000000, 1700000100], pyarrow.int64())
    return seconds.cast(pyarrow.timestamp("s", zone)).cast(pyarrow.timestamp(unit, zone))


USERS, ITEMS = ["ann", "bob"], ["tea", "cup"]
POSITIONS = {"userColumn": "1", "itemColumn": "2", "timestampColumn": "3"}
NUMBERS: list[Row] = [("1", "5", "1700000000", None, "1"), ("2", "6", "1700000100", None, "1")]
RETAIL = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

SHAPES: dict[str, Shape] = {
    "comma, with a header": Shape({"a.csv": text(",")}),
    "semicolon": Shape({"a.csv": text(";", "User-ID,Item-ID,Timestamp")}),
    "tab (`.tsv`, `.txt`, `.csv`)": Shape(
        {"a.tsv": text("\t"), "b.txt": text("\t") + "\n", "c.csv": text("\t") + "\n\n"}, ROWS * 3
    ),
    "a copy of a file under another name": Shape({"a.csv": text(","), "copy.csv": text(",")}),
    "pipe": Shape({"a.txt": text("|")}),
    "`::` (`.dat`)": Shape(
        {"ratings.dat": "ann::tea::4::1700000000\nbob::cup::4::1700000100\n"}, rows=with_weight("4")
    ),
    "fields in quotes, with separators and `\"\"` inside": Shape(
        {"a.csv": 'note,user_id,item_id,timestamp\n"so, ""so""",ann,"tea",1700000000\n,"bob",cup,1700000100\n'}
    ),
    "a quoted field with line breaks": Shape(
        {"a.csv": 'user_id,item_id,timestamp,text\nann,tea,1700000000,"nice\nx,y,1700000000,z"\nbob,cup,1700000100,\n'}
    ),
    "line breaks in quotes far into a large file": Shape(
        {
            "a.csv": "user_id,item_id,timestamp,text\n"
            + "ann,tea,1700000000,dull\n" * 4000
            + 'bob,cup,1700000100,"nice\nx,y,1700000000,z\n!"\n'
        },
        rows=[ROWS[0]] * 4000 + [ROWS[1]],
    ),
    "an inch sign or a lone quote inside a field": Shape(
        {"a.tsv": 'user_id\titem_id\ttimestamp\tname\nann\ttea\t1700000000\t"big\nbob\tcup\t1700000100\t5" cup\n'}
    ),
    "no header, positions given": Shape({"a.csv": text("|", "")}, said=POSITIONS),
    "no header, nothing given": Shape({"a.csv": "1,5,1700000000\n"}, words="no column is known to hold the users"),
    "the header again in the middle of a file": Shape({"a.csv": text(",") + text(",")}, ROWS * 2),
    "Windows line ends, blank lines, a byte-order mark": Shape(
        {"a.csv": "\ufeff" + text(",").replace("\n", "\r\n\r\n")}
    ),
    "a byte-order mark without a header": Shape({"a.csv": "\ufeff" + text(",", "")}, said=POSITIONS),
    "Latin-1": Shape(
        {"a.csv": "user_id;item_id;timestamp\nann;Crème;1700000000\n".encode("latin-1")},
        [("ann", "Crème", "1700000000", None, "1")],
    ),
    "Windows-1252": Shape(
        {"a.csv": "user_id;item_id;timestamp\nann;Tea “best” 5€;1700000000\n".encode("cp1252")},
        [("ann", "Tea “best” 5€", "1700000000", None, "1")],
    ),
    "Latin-1 that begins far into a file": Shape(
        {"a.csv": text(",").encode() * 3000 + "eve,Crème,1700000000\n".encode("latin-1")},
        [*ROWS * 3000, ("eve", "Crème", "1700000000", None, "1")],
    ),
    "UTF-16": Shape({"a.csv": text(",").encode("utf-16")}, words="a.csv is UTF-16: convert it with iconv"),
    "`sep=;`, a title or `#` comments before the header": Shape(
        {
            "a.csv": "sep=;\n" + text(";"),
            "b.csv": "Orders of May\n\n,,\n" + text(","),
            "c.csv": "\ufeff# by the shop, in May\n" + text(",") + "May,,\n",
            "d.csv": '\ufeffOrders of May,,,\nuser_id,item_id,timestamp,note\nann,tea,1700000000,"so\nso"\n',
        },
        [*ROWS * 3, ROWS[0], ("May", None, None, None, "1")],
    ),
    "lines with separators alone, as a spreadsheet writes them": Shape({"a.csv": text(",") + ",,\n" * 9}),
    "`.gz`": Shape({"a.csv.gz": gzip.compress(text(",").encode())}),
    "`.bz2`": Shape({"a.tsv.bz2": bz2.compress(text("\t").encode())}),
    "`.zst`": Shape({"a.csv.zst": pyarrow.compress(text(",").encode(), "zstd", asbytes=True)}),
    "gzip without the ending `.gz`": Shape(
        {"a.csv": gzip.compress(text(",").encode())}, words="a.csv is compressed with gzip: give it the ending .gz"
    ),
    "`.zip`, `.xlsx` and others": Shape({"a.xlsx": "PK", "b.csv": text(",")}),
    "JSON lines (`.jsonl`, `.ndjson`, `.json`)": Shape(
        {
            "a.jsonl": '{"user": "ann", "item": "tea", "time": 1700000000}\n'
            '{"time": "1700000100", "item": "cup", "user": "bob", "more": {"x": 1}}\n'
        }
    ),
    "a JSON list": Shape({"a.json": '[{"user": "ann"}]'}, words="a.json is one JSON list, not one object a line"),
    "a JSON object with a list": Shape(
        {"a.json": '{"data": [{"user": "ann"}]}'}, words="""jq -c '.["data"][]' a.json > a.jsonl, and use that file"""
    ),
    "JSON lines with an object or a list as an id": Shape(
        {"a.jsonl": '{"user_id": {"$oid": "1"}, "product": {"price": 9.5, "id": 4}, "time": 1700000000}\n'},
        words="""'.["user_id"] = .["user_id"]["$oid"] | .["product"] = .["product"]["id"]' a.jsonl > flat-a.jsonl""",
    ),
    "lines of Python, `{'user': 1}`": Shape({"a.json": "{'user': 1, 'item': u'x'}\n"}, words="convert it with python3"),
    "Parquet, times as integers or floating-point numbers": Shape(
        {
            "a.parquet": parquet(user_id=USERS, item_id=ITEMS, timestamp=[1700000000, 1700000100]),
            "b.parquet": parquet(user_id=USERS, item_id=ITEMS, timestamp=[1700000000.25, 1700000100.0]),
        },
        ROWS * 2,
    ),
    "Parquet, times as timestamps of any unit, nanoseconds too": Shape(
        {
            "a.parquet": parquet(user_id=USERS, item_id=ITEMS, timestamp=_times("ns")),
            "b.parquet": parquet(user_id=USERS, item_id=ITEMS, timestamp=_times("ns", "UTC")),
            "c.parquet": parquet(user_id=USERS, item_id=ITEMS, timestamp=_times("us")),
            "d.parquet": parquet(user_id=USERS, item_id=ITEMS, timestamp=_times("ms", "UTC")),
        },
        ROWS * 4,
    ),
    "Parquet, ids of any integer type or whole floating-point numbers": Shape(
        {
            f"{kind}.parquet": parquet(
                user_id=pyarrow.array([1, 2], kind),
                item_id=pyarrow.array([5, 6], kind),
                timestamp=[1700000000, 1700000100],
            )
            for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float", "double")
        },
        NUMBERS * 10,
    ),
    "several Parquet files whose types or columns differ": Shape(
        {
            "a.parquet": parquet(user_id=pyarrow.array([1, 2], "int32"), item_id=["5", "6"], timestamp=_times("ns")),
            "b.parquet": parquet(more=[0, 0], item_id=[5, 6], user_id=["1", "2"], timestamp=[1700000000, 1700000100]),
        },
        NUMBERS * 2,
    ),
    "Parquet, a column without a text": Shape(
        {"a.parquet": parquet(user_id=[["ann"], ["bob"]], item_id=ITEMS, timestamp=[1, 2])},
        words="column 'user_id' has type array<string>, not text or numbers (a.parquet)",
        on_laptop=True,
    ),
    "Parquet, a column of a type that Spark cannot read, and that is not used": Shape(
        {
            "a.parquet": parquet(
                user_id=USERS,
                item_id=ITEMS,
                timestamp=[1700000000, 1700000100],
                clock=pyarrow.array([1, 2], pyarrow.int64()).cast(pyarrow.time64("us")),
                **{"Price (EUR)": [1.5, 2.5], "a=b;c": [1, 2], "x.y": [1, 2]},
            ),
            "b.parquet": parquet(**{"Customer ID": USERS, "SKU": ITEMS, "Invoice Date": [1700000000, 1700000100]}),
        },
        ROWS * 2,
    ),
    "columns in the names of folders (`date=2024-01-31/…`)": Shape(
        {
            "event_type=buy/date=2024-01-31/part-0.csv": "user_id,item_id\nann,tea\n",
            "event_type=add%20to%20cart/date=2024-02-01/part-0.parquet": parquet(user_id=["bob"], item_id=["cup"]),
            "event_type=buy/date=2024-02-01/a.jsonl": '{"user_id": "eve", "item_id": "tea", "date": "2024-02-02"}\n',
            "event_type=buy/date=2024-02-03/b.jsonl": '{"user_id": "eve", "item_id": "cup"}\n',
        },
        [
            ("ann", "tea", "2024-01-31", "buy", "1"),
            ("bob", "cup", "2024-02-01", "add to cart", "1"),
            ("eve", "tea", "2024-02-02", "buy", "1"),
            ("eve", "cup", "2024-02-03", "buy", "1"),
        ],
    ),
    "files of several formats together": Shape(
        {"a.csv": text(","), "b.tsv": "ITEM_ID\tUSER_ID\tTIME\ntea\tann\t1700000000\ncup\tbob\t1700000100\n"},
        ROWS * 2,
    ),
    "a colon in a name": Shape(
        {"a:b.csv": text(",")}, words="Hadoop cannot read a name with a colon: rename a:b.csv", on_laptop=True
    ),
    "spaces, brackets, percent signs and others in a name": Shape({"a [1] 50%20 {x} é#.csv": text(",")}),
    "columns named in another way": Shape(
        {"a.csv": text(",", "who,what,when")}, words="make demo DATA=PATH USER=who ITEM=what TIME=when"
    ),
    "columns named in another way, and given": Shape(
        {"a.csv": text(",", "who,what,When it was")},
        said={"userColumn": "WHO", "itemColumn": "what", "timestampColumn": "when it was"},
    ),
    "two columns that may be the user": Shape(
        {"a.csv": text(",", "customer,sku,time,visitor").replace("\nann,tea,1700000000", "\nann,tea,1700000000,x")},
        words="several columns may hold the users: customer, visitor",
    ),
    "no column of times": Shape(
        {"a.csv": '"User-ID";"ISBN";"Book-Rating"\n"1";"x";"5"\n'}, words="DATA=PATH USER=User-ID ITEM=ISBN TIME=none"
    ),
    "no column of times, and `TIME=none`": Shape(
        {"a.csv": '"User-ID";"ISBN";"Book-Rating"\n"ann";"tea";"4"\n"bob";"cup";"4"\n'},
        [(*row[:2], None, *row[3:]) for row in with_weight("4")],
        {"timestampColumn": "none"},
    ),
    "times as `31.12.2023 23:59`, `5-Jan-2021` or `1/31/2024 3:04 PM`": Shape(
        {
            "a.csv": text(",").replace("1700000000", "14.11.2023 22:13").replace("1700000100", "2.11.2023 0:05"),
            "b.csv": text(",").replace("1700000000", "14-Nov-2023").replace("1700000100", "2-Nov-2023"),
            "c.csv": text(",").replace("1700000000", "11/14/2023 10:13 PM").replace("1700000100", "11/2/2023 12:05 AM"),
        },
        [
            *(("ann", "tea", f"2023-11-14T{time}Z", None, "1") for time in ("22:13:00", "00:00:00", "22:13:00")),
            *(("bob", "cup", f"2023-11-02T{time}Z", None, "1") for time in ("00:05:00", "00:00:00", "00:05:00")),
        ],
    ),
    "times that begin with the name of the day": Shape(
        {
            "a.csv": text(",").replace("1700000000", "Tue Nov 14 22:13:20 +0000 2023").replace(
                "1700000100", "Tue Nov 14 22:15:00 +0000 2023"
            ),
            "b.tsv": text("\t").replace("1700000000", "Tue, 14 Nov 2023 23:13:20 +0100").replace(
                "1700000100", "Tue, 14 Nov 2023 23:15:00 +0100"
            ),
        },
        [(*row[:2], f"2023-11-14T{time}Z", *row[3:]) for row, time in zip(ROWS, ("22:13:20", "22:15:00"), strict=True)]
        * 2,
    ),
    "times whose day and month no row tells apart": Shape(
        {"a.csv": text(",").replace("1700000000", "1/2/2024").replace("1700000100", "3/4/2024")},
        words="make demo DATA=PATH USER=user_id ITEM=item_id TIME=timestamp TIME_FORMAT=M/d/yyyy",
    ),
    "times whose day and month only another file tells apart": Shape(
        {
            "a.csv": text(",").replace("1700000000", "2/11/2023").replace("1700000100", "3/11/2023"),
            "b.csv": text(",").replace("1700000000", "14/11/2023 8:05").replace("1700000100", "1/11/2023 9:05"),
        },
        [
            *(("ann", "tea", f"2023-11-{time}:00Z", None, "1") for time in ("02T00:00", "14T08:05")),
            *(("bob", "cup", f"2023-11-{time}:00Z", None, "1") for time in ("03T00:00", "01T09:05")),
        ],
    ),
    "days since 1900, as a spreadsheet counts them": Shape(
        {"a.csv": text(",").replace("1700000000", "45201.97").replace("1700000100", "45202")},
        words="a.csv: times such as '45201.97' are days since 1900",
    ),
    "quantities or ratings that are asked for (`VALUES`, `LEAST`), and none": Shape(
        {"a.csv": "user_id,item_id,time,pieces\nann,tea,1700000000,2\n"},
        said={"values": "multiply"},
        words="no column is known to hold the weights",
    ),
    "a weight that is not wanted, and `WEIGHT=none`": Shape(
        {"a.csv": "user_id,item_id,time,rating\nann,tea,1700000000,4\nbob,cup,1700000100,\n"},
        said={"weightColumn": "none"},
    ),
    "Shopify's orders": Shape(
        {
            "orders.csv": "Name,Email,Paid at,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku\n"
            "#1001,ann@x.de,,2023-01-05 10:11:12 -0500,1,Tea,5.0,tea-1\n"
            "#1001,ann@x.de,,2023-01-05 10:11:12 -0500,1,Cup,5.0,cup-1\n"
        },
        words="make demo DATA=PATH USER=Email ITEM='Lineitem sku' TIME='Created at'",
    ),
    "orders in another language": Shape(
        {"a.csv": "Bestellnr;Kunde;Artikel;Datum;Menge\n1;k1;a1;31.01.2023;1\n2;k1;a2;1.01.2023;2\n"},
        words="make demo DATA=PATH USER=Kunde ITEM=Artikel TIME=Datum",
    ),
    "Amazon Personalize": Shape(
        {
            "interactions.csv": "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\n"
            "ann,tea,1700000000,buy,\nbob,cup,1700000100,buy,3\n",
            "items.csv": "ITEM_ID,TITLE,GENRES\ntea,Green tea,Drinks|Hot\n",
            "users.csv": "USER_ID,AGE\nann,7\n",
        },
        with_event("buy"),
        catalogue=[("tea", "Green tea", "Drinks|Hot")],
    ),
    "Retailrocket": Shape(
        {
            "events.csv": "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n",
            "category_tree.csv": "categoryid,parentid\n1016,213\n",
            "item_properties_part1.csv": "timestamp,itemid,property,value\n1435460400000,460429,categoryid,1338\n",
        },
        [("257597", "355908", "1433221332117", "view", "1")],
    ),
    "REES46": Shape(
        {
            "2019-Oct.csv": "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,"
            "user_session\n2019-10-01 00:00:00 UTC,view,44600062,21038074595,,shiseido,35.79,541312140,72d76fde\n"
        },
        [("541312140", "44600062", "2019-10-01 00:00:00 UTC", "view", "1")],
    ),
    "MovieLens: `ratings.csv`, `ratings.dat`, `u.data`": Shape(
        {
            "ratings.csv": "userId,movieId,rating,timestamp\nann,tea,4,1700000000\nbob,cup,4,1700000100\n",
            "u.data": "ann\ttea\t4\t1700000000\nbob\tcup\t4\t1700000100\n",
            "movies.csv": 'movieId,title,genres\ntea,"Tea, the (1995)",Drama\n',
            "tags.csv": "userId,movieId,tag,timestamp\nann,tea,dull,1700000000\n",
            "README.txt": "Summary\n\nThis dataset, and so on.\n",
        },
        with_weight("4") * 2,
        catalogue=[("tea", "Tea, the (1995)", "Drama")],
    ),
    "Amazon reviews: ratings without a header, in both orders": Shape(
        {
            "a.csv": "A39HTATAQ9V7YF,0205616461,5.0,1369699200\n",
            "b.csv": "0205616461,A39HTATAQ9V7YF,5.0,1369699200\n",
        },
        [("A39HTATAQ9V7YF", "0205616461", "1369699200", None, "5.0")] * 2,
    ),
    "Amazon reviews: JSON lines of 2014 and 2023": Shape(
        {
            "a.json": '{"reviewerID": "ann", "asin": "tea", "overall": 4, "unixReviewTime": 1700000000, '
            '"reviewTime": "x"}\n',
            "b.jsonl": '{"rating": 4, "asin": "x", "parent_asin": "cup", "user_id": "bob", "timestamp": 1700000100}\n',
        },
        with_weight("4"),
    ),
    "Taobao UserBehavior": Shape(
        {"UserBehavior.csv": "ann,tea,2520377,pv,1700000000\nbob,cup,2520771,pv,1700000100\n"}, with_event("pv")
    ),
    "H&M": Shape(
        {
            "transactions_train.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n"
            "2018-09-20,00a,0663713001,0.05,2\n",
            "articles.csv": "article_id,prod_name,product_type_name\n0663713001,Strap top,Vest top\n",
            "customers.csv": "customer_id,age\n00a,49\n",
        },
        [("00a", "0663713001", "2018-09-20", None, "1")],
        catalogue=[("0663713001", "Strap top", "Vest top")],
    ),
    "UCI Online Retail I and II": Shape(
        {
            "one.csv": RETAIL + "536365,85123A,WHITE £,6,12/1/2010 8:26,2.55,17850,United Kingdom\n",
            "two.csv": RETAIL.replace("InvoiceNo", "Invoice").replace("CustomerID", "Customer ID")
            + '489434,85048,"SO, ""BIG""",-12,2009-12-01 07:45:00,6.95,13085.0,France\n',
        },
        [
            ("13085.0", "85048", "2009-12-01 07:45:00", None, "-12"),
            ("17850", "85123A", "2010-12-01T08:26:00Z", None, "6"),
        ],
    ),
    "RecBole (`.inter`, `.item`)": Shape(
        {
            "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nann\ttea\t4\t1700000000\n"
            "bob\tcup\t4\t1700000100\n",
            "ml.item": "item_id:token\tmovie_title:token_seq\tclass:token_seq\ntea\tGreen tea\tDrinks\n",
        },
        with_weight("4"),
        catalogue=[("tea", "Green tea", "Drinks")],
    ),
    "a catalogue in Latin-1, with line breaks": Shape(
        {"a.csv": text(","), "products.csv": 'sku;name;department\ntea;"Crème\nbrûlée";Food\n'.encode("latin-1")},
        catalogue=[("tea", "Crème\nbrûlée", "Food")],
    ),
    "a catalogue in Latin-1 that begins far into it, with line breaks": Shape(
        {
            "a.csv": text(","),
            "items.csv": b"id,title\n" + b"cup,A cup\n" * 9000 + 'tea,"Crème\nbrûlée"\n'.encode("latin-1"),
        },
        catalogue=[("cup", "A cup", None)] * 9000 + [("tea", "Crème\nbrûlée", None)],
    ),
    "a catalogue in UTF-8 that begins far into it": Shape(
        {"a.csv": text(","), "items.csv": "id,title\n" + "cup,A cup\n" * 9000 + "tea,Crème\n"},
        catalogue=[("cup", "A cup", None)] * 9000 + [("tea", "Crème", None)],
    ),
    "another table or a note beside the interactions": Shape(
        {"a.csv": text(","), "stores.csv": "store,city\n1,Rome\n", "notes.txt": "ask Tom"}
    ),
    "orders and their lines in two files": Shape(
        {
            "orders.csv": "id,customer_id,created_at\n1,ann,1700000000\n",
            "order_items.csv": "order_id,product_id,price\n1,tea,2.5\n",
        },
        words="the people are in orders.csv and the items in order_items.csv: join them in their folder",
    ),
    "a file of separators alone beside others": Shape({"a.csv": text(","), "b.csv": ",,\n,,\n"}),
    "a file without columns of its fellows": Shape(
        {"a.csv": text(","), "b.csv": "user_id,item_id\nann,tea\n"}, words="b.csv: no column is known to hold the times"
    ),
}  # fmt: skip
