"""Generates a shop: its catalogue, and its customers' views and purchases, week by week.

The simulation has known patterns for a recommender to find:

- *taste*: each customer shops in three departments, and in each mostly within one of its three styles. A style is 17
  products, so a customer's views predict the next ones;
- *popularity*: within a style and over the whole shop, demand follows Zipf's law, so popularity is a strong baseline;
- *time*: products are seasonal; each week customers join and new products appear, which are in demand for a while. So a
  model ages: it does not know last week's products;
- *chance*: one interaction in eight follows popularity, not taste.

Everything is drawn from generators seeded by the shop's seed and the week, so nine weeks of a shop begin with exactly
its first eight. Timestamps count from a fixed Monday: the files have the same bytes on any day.
"""

from __future__ import annotations

import csv
import math
import random
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

FIRST_MONDAY = 1_736_121_600  # 2025-01-06T00:00:00Z
DAY_SECONDS = 24 * 3600
WEEK_SECONDS = 7 * DAY_SECONDS
FIRST_WEEKS = 12
STYLES = 3
CROWD_SHARE = 0.12
MAIN_STYLE_SHARE = 0.9
BUY_SHARE = 0.2
SEASON_WEEKS = 26
LATE_WEEKS = 52
LATE_PRODUCTS = 0.35
LATE_CUSTOMERS = 0.2
NOVELTY = 6.0
NOVELTY_WEEKS = 2.0

# Department: the three styles (an adjective that each product carries) and the products, separated by `|`.
DEPARTMENTS: dict[str, tuple[tuple[str, str, str], str]] = {
    "Coffee": (
        ("Barista", "Nordic", "Campfire"),
        "Pour-Over Kettle|Hand Grinder|Espresso Beans 1 kg|Milk Frother|Filter Papers|Travel Mug|Cold Brew Jug"
        "|Moka Pot|Digital Scale|Cupping Spoon|French Press|Bean Canister|Espresso Tamper|Knock Box|Latte Glasses"
        "|Descaler|Decaf Beans 500 g",
    ),
    "Tea": (
        ("Kyoto", "Darjeeling", "Garden"),
        "Cast-Iron Teapot|Loose Leaf Tin|Matcha Whisk|Herbal Infusion|Glass Infuser|Tea Tray|Honey Dipper"
        "|Jasmine Pearls|Temperature Kettle|Tea Cosy|Porcelain Cups|Chai Blend|Green Tea 250 g|Sampler Box"
        "|Cake Stand|Iced Tea Pitcher|Rooibos",
    ),
    "Garden": (
        ("Balcony", "Cottage", "Allotment"),
        "Seed Set|Pruning Shears|Watering Can|Raised Bed|Compost Bin|Trowel|Herb Planter|Bird Feeder|Kneeling Pad"
        "|Grow Lamp|Potting Soil|Hose Reel|Trellis|Bulb Mix|Garden Gloves|Rain Gauge|Cold Frame",
    ),
    "Kitchen": (
        ("Chef's", "Bistro", "Everyday"),
        "Carbon Steel Pan|Santoku Knife|Cutting Board|Stock Pot|Mandoline|Pepper Mill|Sourdough Basket"
        "|Rolling Pin|Spice Rack|Salad Spinner|Dutch Oven|Whetstone|Baking Steel|Wok|Apron|Measuring Cups"
        "|Kitchen Timer",
    ),
    "Cycling": (
        ("Gravel", "City", "Alpine"),
        "Helmet|Pannier|Multi-Tool|Floor Pump|Chain Lube|Front Light|Bib Shorts|Bottle Cage|Saddle|Phone Mount"
        "|Rain Cape|Cassette Brush|Handlebar Tape|Bike Lock|Tubeless Kit|Riding Gloves|Mudguards",
    ),
    "Camping": (
        ("Ultralight", "Family", "Winter"),
        "Tent|Sleeping Bag|Gas Stove|Headlamp|Dry Bag|Folding Chair|Water Filter|Cooking Set|Hammock"
        "|First Aid Kit|Insulated Mat|Trekking Poles|Cool Box|Tarp|Lantern|Camp Table|Stuff Sack",
    ),
    "Yoga": (
        ("Studio", "Travel", "Restorative"),
        "Cork Mat|Bolster|Block Pair|Strap|Meditation Cushion|Leggings|Foam Roller|Balance Board|Eye Pillow"
        "|Singing Bowl|Mat Towel|Wrist Wedge|Massage Balls|Resistance Bands|Wool Blanket|Practice Diary|Mat Bag",
    ),
    "Books": (
        ("Mystery", "Galactic", "Historical"),
        "Paperback: The Long Tide|Paperback: A Room of Salt|Paperback: North of Nowhere|Box Set I|Box Set II"
        "|Anthology|Paperback: The Glass Orchard|Paperback: Ashfall|Paperback: Quiet Harbour|Reading Lamp"
        "|Hardcover: Last Light|Paperback: The Ninth Door|Book Stand|Paperback: Ember Road|Hardcover: Two Rivers"
        "|Paperback: Winterset|Collector's Edition",
    ),
    "Music": (
        ("Jazz", "Indie", "Baroque"),
        "Vinyl: Live at Midnight|Vinyl: First Takes|Turntable Mat|Vinyl: Blue Rooms|Headphones|Record Brush"
        "|Vinyl: Small Hours|Songbook|Metronome|Vinyl: Homecoming|Record Crate|Bookshelf Speakers"
        "|Vinyl: The Sessions|Stylus|Vinyl: Encore|Music Stand|Vinyl: Interludes",
    ),
    "Toys": (
        ("Wooden", "Science", "Woodland"),
        "Building Blocks|Puzzle 500|Marble Run|Train Set|Stacking Rings|Microscope|Board Game|Memory Cards|Kite"
        "|Balance Bike|Dolls' House|Magnet Kit|Hand Puppets|Shape Sorter|Story Dice|Tool Bench|Paint Set",
    ),
    "Stationery": (
        ("Fountain", "Pastel", "Architect's"),
        "Pen|Notebook A5|Ink 50 ml|Desk Organiser|Washi Tape|Planner|Pencil Case|Letter Set|Ruler|Sketchbook"
        "|Highlighters|Mechanical Pencil|Sticky Notes|Desk Mat|Wax Seal|Correction Roller|Paper Clips",
    ),
    "Pets": (
        ("Puppy", "Senior Cat", "Aquarium"),
        "Treats|Bed|Feeding Bowl|Carrier|Brush|Supplement|Toy Set|Travel Bottle|Thermometer|Starter Kit|Litter"
        "|Cleaning Kit|Food 5 kg|Night Light|Blanket|Care Guide|Food Dispenser",
    ),
}


@dataclass(frozen=True)
class Product:
    """One line of the catalogue. `style` counts from 0 within the department; `appeal` is its weight in demand; `since`
    is its first week.
    """

    item_id: str
    title: str
    category: str
    style: int
    appeal: float
    since: int


@dataclass(frozen=True)
class Interaction:
    """`timestamp` is in epoch seconds; `event_type` is `view` or `buy`."""

    user_id: str
    item_id: str
    timestamp: int
    event_type: str


@dataclass(frozen=True)
class Customer:
    """`departments` has the weight of each and the customer's style in it; `pace` is the number of product views per
    week.
    """

    user_id: str
    departments: tuple[str, ...]
    liking: tuple[float, ...]
    styles: tuple[int, ...]
    pace: float
    since: int


def catalogue(seed: int) -> list[Product]:
    """The shop's products, ordered by id. Two thirds exist from the first week, the others appear later."""
    generator = random.Random(f"{seed}/catalogue")
    products: list[Product] = []
    for department, (styles, names) in DEPARTMENTS.items():
        titles = [(f"{style} {name}", number) for number, style in enumerate(styles) for name in names.split("|")]
        ranks = list(range(len(titles)))
        generator.shuffle(ranks)
        for (title, style), rank in zip(titles, ranks, strict=True):
            since = 0 if generator.random() >= LATE_PRODUCTS else generator.randint(1, LATE_WEEKS)
            appeal = 1.0 / (1.0 + rank) ** 0.9
            products.append(Product(f"p{len(products) + 1:04d}", title, department, style, appeal, since))
    return products


def customers(seed: int, count: int) -> list[Customer]:
    """The shop's customers, ordered by id. Four fifths exist from the first week, the others join later."""
    generator = random.Random(f"{seed}/customers")
    departments = list(DEPARTMENTS)
    people = []
    for number in range(1, count + 1):
        chosen = tuple(generator.sample(departments, 3))
        styles = tuple(generator.randrange(STYLES) for _ in chosen)
        pace = min(8.0, generator.lognormvariate(0.9, 0.45))
        since = 0 if generator.random() >= LATE_CUSTOMERS else generator.randint(1, LATE_WEEKS)
        people.append(Customer(f"u{number:04d}", chosen, (0.5, 0.3, 0.2), styles, pace, since))
    return people


def _demand(products: list[Product], week: int) -> list[float]:
    """Cumulative weights of `products` in `week`."""
    return list(accumulate(_weight(product, week, place / len(products)) for place, product in enumerate(products)))


def _weight(product: Product, week: int, phase: float) -> float:
    """The product's demand: appeal × a slow seasonal wave × a bonus for new products; 0 before its first week."""
    if product.since > week:
        return 0.0
    season = 1.0 + 0.6 * math.sin(2 * math.pi * (week / SEASON_WEEKS + phase))
    novelty = NOVELTY * math.exp((product.since - week) / NOVELTY_WEEKS) if product.since else 0.0
    return product.appeal * season * (1.0 + novelty)


def interactions(seed: int, weeks: int, users: int = 800) -> list[Interaction]:
    """The interactions of the first `weeks` weeks, ordered by time, then user, then item. Raises ValueError below one
    week or user.
    """
    if weeks < 1 or users < 1:
        raise ValueError(f"a shop needs at least one week and one user, not {weeks} weeks and {users} users")
    products = catalogue(seed)
    people = customers(seed, users)
    shelves: dict[tuple[str, int], list[Product]] = {}
    for product in products:
        shelves.setdefault((product.category, product.style), []).append(product)
    seen: dict[str, set[str]] = {person.user_id: set() for person in people}
    history: list[Interaction] = []
    for week in range(weeks):
        generator = random.Random(f"{seed}/week/{week}")
        crowd = _demand(products, week)
        shelf_demand = {key: _demand(shelf, week) for key, shelf in shelves.items()}
        for person in people:
            visits = _poisson(generator, person.pace) if person.since <= week else 0
            start = FIRST_MONDAY + week * WEEK_SECONDS + generator.randrange(6 * DAY_SECONDS)
            for visit in range(visits):
                product = _choose(generator, person, products, crowd, shelves, shelf_demand, seen[person.user_id])
                seen[person.user_id].add(product.item_id)
                moment = start + visit * 2_400 + generator.randrange(1_200)
                history.append(Interaction(person.user_id, product.item_id, moment, "view"))
                if generator.random() < BUY_SHARE:
                    bought = moment + 60 + generator.randrange(1_000)
                    history.append(Interaction(person.user_id, product.item_id, bought, "buy"))
    return sorted(history, key=lambda row: (row.timestamp, row.user_id, row.item_id))


def _poisson(generator: random.Random, mean: float) -> int:
    """A Poisson draw by Knuth's product of uniforms (The Art of Computer Programming, volume 2, 3.4.1)."""
    limit, product, count = math.exp(-mean), generator.random(), 0
    while product > limit:
        product *= generator.random()
        count += 1
    return count


def _choose(
    generator: random.Random,
    person: Customer,
    products: list[Product],
    crowd: list[float],
    shelves: dict[tuple[str, int], list[Product]],
    shelf_demand: dict[tuple[str, int], list[float]],
    seen: set[str],
) -> Product:
    """The next product for `person`: one not seen before, unless a dozen draws find none."""
    product = products[0]
    for _ in range(12):
        if generator.random() < CROWD_SHARE:
            product = generator.choices(products, cum_weights=crowd)[0]
        else:
            place = generator.choices(range(len(person.departments)), person.liking)[0]
            style = person.styles[place]
            if generator.random() >= MAIN_STYLE_SHARE:
                style = (style + generator.randint(1, STYLES - 1)) % STYLES
            key = person.departments[place], style
            product = generator.choices(shelves[key], cum_weights=shelf_demand[key])[0]
        if product.item_id not in seen:
            break
    return product


def write_shop(folder: Path, seed: int, weeks: int, users: int = 800) -> int:
    """Write `interactions.csv` and `items.csv` (the products of these weeks) into `folder`; return the number of
    interactions.

    Raises ValueError as `interactions` does, OSError when the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    history = interactions(seed, weeks, users)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user_id", "item_id", "timestamp", "event_type"])
        writer.writerows([row.user_id, row.item_id, row.timestamp, row.event_type] for row in history)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "title", "category"])
        writer.writerows([item.item_id, item.title, item.category] for item in catalogue(seed) if item.since < weeks)
    return len(history)
