"""Columns are guessed when the guess is sure; otherwise the refusal has the command that works."""

from dataclasses import replace

import pytest

from contracts import columns, suggestions
from contracts.columns import Columns, Given, NotSure
from contracts.layouts import Unreadable, find

SHAPES = {
    "Amazon Personalize": (
        "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\n1,2,1700000000,buy,\n",
        Columns("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"),
    ),
    "Retailrocket": (
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n",
        Columns("visitorid", "itemid", "timestamp", "event"),
    ),
    "REES46": (
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde\n",
        Columns("user_id", "product_id", "event_time", "event_type"),
    ),
    "MovieLens": (
        "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n",
        Columns("userId", "movieId", "timestamp", None, "rating"),
    ),
    "MovieLens 1M": ("1::1193::5::978300760\n", Columns("1", "2", "4", None, "3")),
    "Amazon ratings": (
        "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,B000052YAN,1,1369699200\n",
        Columns("1", "2", "4", None, "3"),
    ),
    "Amazon ratings, item first": ("B000052YAN,A3JM6GV9MNOF9X,1,1369699200\n", Columns("2", "1", "4", None, "3")),
    "Amazon reviews 2014": (
        '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 14e8, "reviewTime": "09 1, 2013"}\n',
        Columns("reviewerID", "asin", "unixReviewTime", None, "overall"),
    ),
    "Amazon reviews 2023": (
        '{"rating": 5, "asin": "B1", "parent_asin": "B2", "user_id": "A1", "timestamp": 1400000000000}\n',
        Columns("user_id", "parent_asin", "timestamp", None, "rating"),
    ),
    "Taobao UserBehavior": (
        "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,fav,1511561733\n",
        Columns("1", "2", "5", "4"),
    ),
    "H&M": (
        "t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,000058a,0663713001,0.05,2\n",
        Columns("customer_id", "article_id", "t_dat"),
    ),
    "Online Retail": (
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "536365,85123A,WHITE,6,12/1/2010 8:26,2.55,17850,United Kingdom\n",
        Columns("CustomerID", "StockCode", "InvoiceDate", None, "Quantity", time_format="M/d/yyyy H:mm"),
    ),
    "Online Retail II": (
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
        "536365,85123A,WHITE,6,2009-12-01 07:45:00,2.55,13085.0,France\n",
        Columns("Customer ID", "StockCode", "InvoiceDate", None, "Quantity"),
    ),
    "RecBole": (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n",
        Columns("user_id", "item_id", "timestamp", None, "rating"),
    ),
    "a canonical name wins": (
        "user_id,customer_id,item_id,product_id,timestamp,date\n1,2,3,4,5,6\n",
        Columns("user_id", "item_id", "timestamp"),
    ),
    "a rating in words is no weight": ("user,item,time,rating\n1,2,3,good\n", Columns("user", "item", "time")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_guesses_the_columns_of_known_files(shape: str) -> None:
    text, expected = SHAPES[shape]
    assert columns.choose(find(text.encode(), "a.csv"), Given(), "a.csv") == expected


def test_movielens_100k_is_known_by_its_name() -> None:
    layout = find(b"196\t242\t3\t881250949\n", "ml-100k/u.data")
    assert columns.choose(layout, Given(), "ml-100k/u.data") == Columns("1", "2", "4", None, "3")


@pytest.mark.parametrize(
    ("text", "problem", "command"),
    [
        (
            "who,what,when\n1,i,1700000000\n",
            "a.csv: no column is known to hold the users, the items, the times; it has the columns who, what, when",
            "make demo DATA='my data/a.csv' USER=who ITEM=what TIME=when",
        ),
        (
            "1,1193,5,978300760\n1,661,3,978302109\n",
            "a.csv: no column is known to hold the users, the items, the times; it has no header; its first row is "
            "1: 1, 2: 1193, 3: 5, 4: 978300760",
            "make demo DATA='my data/a.csv' USER=1 ITEM=2 TIME=4",
        ),
        (
            "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\n",
            "a.csv: no column is known to hold the users, the items, the times; it has no header; its first row is "
            "1: user_000001, 2: 2009-05-04T23:08:57Z, 3: f1b1cf71, 4: Deep Dish",
            "make demo DATA='my data/a.csv' USER=1 ITEM=3 TIME=2",
        ),
        (
            "customer,buyer_id,sku,time\n1,2,3,4\n",
            "a.csv: several columns may hold the users: customer, buyer_id; it has the columns customer, buyer_id, "
            "sku, time",
            "make demo DATA='my data/a.csv' USER=customer ITEM=sku TIME=time",
        ),
        (
            "user,item,time,event,action\n1,2,3,a,b\n",
            "a.csv: several columns may hold the event types: event, action; it has the columns user, item, time, "
            "event, action",
            "make demo DATA='my data/a.csv' USER=user ITEM=item TIME=time EVENT=event",
        ),
        (
            "day,age,session_id,old prod no\n1,2,x,1.5\n",
            "a.csv: no column is known to hold the users, the items, the times; it has the columns day, age, "
            "session_id, old prod no",
            None,
        ),
        (
            "user,item,due on\n1,2,2020-01-01\n",
            "a.csv: no column is known to hold the times; it has the columns user, item, due on",
            "make demo DATA='my data/a.csv' USER=user ITEM=item TIME='due on'",
        ),
    ],
)
def test_a_guess_that_is_not_sure_is_refused_with_the_command_that_works(text: str, problem: str, command: str) -> None:
    layout = find(text.encode(), "a.csv")
    with pytest.raises(NotSure) as caught:
        columns.choose(layout, Given(), "a.csv")
    assert str(caught.value) == problem
    if command is None:  # no column may hold the times
        assert caught.value.suggestion == {"user": "session_id", "item": "old prod no"}
        return
    assert suggestions.remedy(caught.value.suggestion, "my data/a.csv") == f"if these are right: {command}"
    assert columns.choose(layout, replace(Given(), **caught.value.suggestion), "a.csv")


def test_a_large_id_is_no_time_and_a_file_without_separator_is_told() -> None:
    layout = find(b'151603712,"Skyrim",purchase,1.0,0\n', "steam.csv")
    with pytest.raises(NotSure) as caught:
        columns.choose(layout, Given(), "steam.csv")
    assert caught.value.suggestion == {"user": "1", "item": "2"}
    with pytest.raises(NotSure, match="it has one column, user item: no comma, semicolon, tab, pipe or :: separates"):
        columns.choose(find(b"user item\na b\n", "a.txt"), Given(), "a.txt")


def test_a_file_without_times_is_told_so() -> None:
    layout = find(b'"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n', "BX-Book-Ratings.csv")
    with pytest.raises(NotSure, match="no column is known to hold the times") as caught:
        columns.choose(layout, Given(), "BX-Book-Ratings.csv")
    assert suggestions.remedy(caught.value.suggestion, "x.csv") == (
        "if there are no times, and a draw may decide what each person is tested on: make demo DATA=x.csv "
        "USER=User-ID ITEM=ISBN TIME=none WEIGHT=Book-Rating"
    )
    given = replace(Given(timestamp="none"), **caught.value.suggestion)
    assert columns.choose(layout, given, "x.csv") == Columns("User-ID", "ISBN", None, None, "Book-Rating")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Given(user="Customer", item="Sku No", timestamp="2"), Columns("Customer", "Sku No", "When")),
        (Given("CUSTOMER", "sku_no", "when", "1", "4"), Columns("Customer", "Sku No", "When", "Kind", "Sku")),
    ],
)
def test_a_column_is_named_exactly_or_without_case_and_separators_or_by_position(
    given: Given, expected: Columns
) -> None:
    layout = find(b"Kind,When,Customer,Sku,Sku No\nbuy,2020-01-01,a,1,b\n", "a.csv")
    assert columns.choose(layout, given, "a.csv") == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(user="buyer"), "a.csv: the column 'buyer' (user) is missing; it has a, a, A_, b"),
        (Given(user="a"), "a.csv: the column 'a' (user) is there more than once"),
        (Given(user="9"), "the column '9' (user) is missing"),
        (Given(user="2"), "the column '2' (user) is there more than once"),
        (Given(user="b", item="b", timestamp="A_"), "a.csv: one column cannot have two meanings: user b, item b"),
    ],
)
@pytest.mark.fault("D12")
def test_a_column_that_is_not_there_is_named(given: Given, words: str) -> None:
    with pytest.raises(NotSure) as caught:
        columns.choose(find(b"a,a,A_,b\nx,y,z,w\n", "a.csv"), given, "a.csv")
    assert words in str(caught.value)


def test_beside_interactions_a_table_without_users_is_left_alone_and_named() -> None:
    clicks = find(b"user,item,time\n1,2,3\n", "clicks.csv")
    tree = find(b"categoryid,parentid\n1,2\n", "tree.csv")
    chosen, left = columns.choose_each({"tree.csv": tree, "clicks.csv": clicks}, Given())
    assert chosen == {"clicks.csv": Columns("user", "item", "time")}
    assert left["tree.csv"].startswith("tree.csv: no column is known to hold the users, the items, the times; it has")
    people = find(b"customer_id,age\nx,7\n", "people.csv")
    assert list(columns.choose_each({"clicks.csv": clicks, "people.csv": people}, Given())[1]) == ["people.csv"]
    given = Given("USER", "item", "time")
    assert list(columns.choose_each({"clicks.csv": clicks, "tree.csv": tree}, given)[1]) == ["tree.csv"]
    with pytest.raises(NotSure, match=r"^tree\.csv"):
        columns.choose_each({"tree.csv": tree}, Given())
    with pytest.raises(NotSure, match=r"^may\.csv: no column is known to hold the times"):
        columns.choose_each({"clicks.csv": clicks, "may.csv": find(b"user,item\n1,2\n", "may.csv")}, Given())


def test_one_file_with_weights_is_enough() -> None:
    given = Given(needs_weight=True)
    texts = {"a.csv": b"user,item,time,rating\n1,2,1700000000,4\n", "b.csv": b"user,item,time\n1,2,1700000000\n"}
    layouts = {path: find(text, path) for path, text in texts.items()}
    chosen, left = columns.choose_each(layouts, given)
    assert ([own.weight for own in chosen.values()], left) == (["rating", None], {})
    with pytest.raises(NotSure, match="no column is known to hold the weights"):
        columns.choose_each({"b.csv": layouts["b.csv"]}, given)
    blank = find(b"user,item,time,rating\n1,2,1700000000,4\n1,3,1700000000,\n", "c.csv")
    with pytest.raises(NotSure, match="the weights; rating is empty or no number in some rows; it has"):
        columns.choose_each({"c.csv": blank}, given)


def test_files_are_joined_only_if_none_has_people_and_items() -> None:
    texts = {"orders.csv": b"id,customer_id,created_at\n1,2,1700000000\n", "lines.csv": b"order_id,sku\n1,a\n"}
    layouts = {path: find(text, path) for path, text in texts.items()}
    with pytest.raises(Unreadable, match=r"merge\(pd.read_csv\('orders.csv', .*left_on='order_id', right_on='id'"):
        columns.choose_each(layouts, Given())
    layouts["ev.csv"] = find(b"who,what,when\n1,a,1700000000\n", "ev.csv")
    chosen, left = columns.choose_each(layouts, Given(user="who", item="what", timestamp="when"))
    assert (list(chosen), list(left)) == (["ev.csv"], ["orders.csv", "lines.csv"])


def test_the_user_is_found_whatever_the_other_columns_hold() -> None:
    layout = find(b'{"user": "1", "item": {"id": "a"}, "time": 45201}\n', "a.jsonl")
    with pytest.raises(Unreadable):
        columns.choose(layout, Given(), "a.jsonl")
    assert columns.named(layout, Given(), "a.jsonl")["user"] == "user"


def test_a_command_repeats_what_was_said() -> None:
    said = {"weightColumn": "none", "eventTypes": "buy,cart", "halfLifeDays": 30.0, "timestampFormat": "d/M/yyyy"}
    suggestion = {"user": "a b", "item": "c", "timestamp": "d"}
    assert suggestions.command("x.csv", suggestion, said) == (
        "make demo DATA=x.csv USER='a b' ITEM=c TIME=d WEIGHT=none TIME_FORMAT=d/M/yyyy TYPES=buy,cart HALF_LIFE=30.0"
    )
    needy = suggestions.remedy(suggestion, "x.csv", {"leastValue": 3})
    assert needy.startswith("no column has numbers alone that look like weights")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("order_id,customer_email,product_name,quantity,order_date", ("customer_email", "product_name", "order_date")),
        ("event_date,event_timestamp,user_pseudo_id,event_name,item_ref", ("user_pseudo_id", "item_ref", None)),
        ("anonymousId,messageId,status", ("anonymousId", None, None)),
    ],
)
def test_a_suggestion_is_no_column_that_cannot_be_meant(header: str, expected: tuple[str | None, ...]) -> None:
    row = ",".join(f"v{number}" for number in range(header.count(",") + 1))
    with pytest.raises(NotSure) as caught:
        columns.choose(find(f"{header}\n{row}\n".encode(), "a.csv"), Given(), "a.csv")
    found = caught.value.suggestion
    assert (found.get("user"), found.get("item")) == expected[:2]
    assert expected[2] in (None, found.get("timestamp"))
