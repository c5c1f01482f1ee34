"""Runs a little of what Spark jobs do, so that Java has loaded and compiled it: reading text, checking and parsing it,
sums by key, windows, joins, numbering, and writing. Its only argument is a folder for its files.
"""

import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

ROWS, PEOPLE, THINGS = 2000, 97, 41


def run(folder: Path) -> None:
    """Writes an input into the folder, and tables made of it."""
    text = folder / "input" / "events.csv"
    text.parent.mkdir()
    text.write_text(
        "".join(f"u{row % PEOPLE},i{row % THINGS},{1_700_000_000 + row},{row % 5}.0\n" for row in range(ROWS))
    )
    session = SparkSession.builder.appName("warm-up").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.conf.set("spark.sql.adaptive.enabled", "false")
    value, parts = F.col("value"), F.split("value", ",", -1)
    lines = session.read.text(str(text.parent)).select(
        F.make_valid_utf8("value").alias("value"), F.input_file_name().alias("file")
    )
    fields = lines.where(F.trim(value) != "").select(
        F.when(value.contains('"'), F.lit(None)).otherwise(parts).alias("parts"), "file"
    )
    texts = fields.select(
        *(
            F.trim(F.get("parts", F.lit(place))).alias(name)
            for place, name in enumerate(("user", "item", "at", "worth"))
        ),
        "file",
    )
    weight = F.when(F.col("worth").rlike(r"^\d+(\.\d*)?$"), F.col("worth").try_cast("double")).cast("float")
    problem = F.coalesce(
        F.when(F.lower("user").isin("", "null"), F.lit("missing")), F.when(F.length("item") > 256, F.lit("too long"))
    )
    rows = texts.select(
        "user",
        "item",
        F.when(F.col("at").rlike(r"^\d{1,19}$"), F.col("at").try_cast("bigint")).alias("at"),
        weight.alias("worth"),
        problem.alias("problem"),
        F.when(problem.isNotNull(), F.struct("user", "item")).alias("raw"),
        "file",
    ).persist()
    rows.groupBy("problem").agg(F.count("*"), F.count_if(F.col("worth") <= 0), F.max("at")).limit(5).collect()
    good = rows.where(F.col("problem").isNull() & F.col("at").isNotNull()).repartition("user")
    latest = F.max(F.struct("at", "worth")).alias("latest")
    pairs = good.groupBy("user", "item").agg(latest, F.count("*").cast("int").alias("events"))
    person = Window.partitionBy("user")
    pairs = pairs.select("user", "item", "latest.at", "latest.worth", "events").withColumns(
        {"items": F.count("*").over(person), "last": F.max("at").over(person)}
    )
    pairs = pairs.withColumn("is_last", F.col("at") == F.col("last")).persist()
    pairs.agg(
        F.count("*"),
        F.sum(1 / F.col("items")),
        F.max(F.struct("events", "user")),
        F.approx_count_distinct("at"),
    ).head()
    users = _numbered(pairs.select("user").distinct(), "user")
    sums = pairs.groupBy("item").agg(F.count("*").alias("rows"), F.count_if("is_last").alias("last"))
    items = _numbered(sums, "item", "rows")
    indexed = pairs.join(users, "user").join(items, "item")
    for name, table in (("train", indexed.where("not is_last")), ("test", indexed.where("is_last"))):
        ordered = table.select("user_index", "item_index", "at").repartition(1)
        ordered.sortWithinPartitions("user_index", "at").write.parquet(str(folder / name), compression="zstd")
    items.repartition(1).sortWithinPartitions(F.desc("rows"), "item_index").write.json(str(folder / "items"))
    session.read.parquet(str(folder / "train")).agg(F.count("*"), F.max("item_index")).head()
    session.catalog.clearCache()
    session.stop()


def _numbered(rows: DataFrame, name: str, *further: str) -> DataFrame:
    """The columns of the rows, with a number for each."""
    ordered = rows.select(name, *further).orderBy(name).withColumn("place", F.monotonically_increasing_id()).persist()
    ordered.groupBy(F.shiftright("place", 33)).agg(F.count("*")).collect()
    return ordered.select(name, *further, F.col("place").alias(f"{name}_index"))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
