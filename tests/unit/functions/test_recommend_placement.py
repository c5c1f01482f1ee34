"""The list that a request asks for: the placement's settings, those of the request before them, and every bad input."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.placements import Placement, Placements
from recommend.placement import Listing
from recommend.request import RelatedRequest
from shared.refusal import InvalidRequest
from shared.rules import Rules

PLACEMENTS = Placements(
    {
        "home": Placement(
            num_results=20,
            categories=("Drama",),
            fields=("title",),
            exclude_seen="bought",
            deny=("9",),
            boosts={"8": 2.0},
            category_caps={"Drama": 3},
            fallback="trending",
            window="7d",
        ),
        "cart": Placement(list="related"),
        "hot": Placement(list="trending"),
    }
)


def listing(route: str = "recommendations", known: Placements | None = PLACEMENTS, **values: Any) -> Listing:
    given = {name: [value] if isinstance(value, str) else value for name, value in values.items()}
    return Listing.from_query(given, route, "42", lambda: known, "key")


def test_a_request_without_these_parameters_is_as_before_and_reads_no_placements() -> None:
    def unread() -> None:
        raise AssertionError

    plain = Listing.from_query({"numResults": ["3"]}, "related", "7", unread, "key")
    assert (plain.name, plain.placement, plain.exclude, plain.stand_in) == (
        "",
        Placement(list="related"),
        (),
        "popular",
    )
    rules = Rules(deny=("1",))
    assert plain.rules(rules) is rules
    request = RelatedRequest("7", 3)
    assert plain.completed(request) == request


def test_the_request_goes_before_the_placement() -> None:
    plain, asked = RelatedRequest("7"), RelatedRequest("7", 5, ("Comedy",), ("price",))
    assert listing(placement="home").completed(plain) == RelatedRequest("7", 20, ("Drama",), ("title",))
    given = listing(placement="home", numResults="5", category="Comedy", fields="price")
    assert given.completed(asked) == asked
    other_form = listing(placement="home", categories="Comedy")
    assert other_form.completed(asked) == RelatedRequest("7", 20, ("Comedy",), ("title",))
    assert listing(placement="home").window == "7d" and listing(placement="home", window="24h").window == "24h"


def test_the_placements_rules_come_to_those_of_the_shop() -> None:
    shop = Rules(("1",), {"8": 3.0, "7": 1.5}, {"Drama": 1, "Comedy": 2}, {"share": 0.1, "fewerThan": 5})
    assert listing(placement="home", exclude="5").rules(shop) == Rules(
        ("5", "9", "1"), {"8": 2.0, "7": 1.5}, {"Drama": 3, "Comedy": 2}, {"share": 0.1, "fewerThan": 5}
    )


def test_where_there_are_too_many_rules_those_of_the_shop_give_way_and_no_denied_item_is_lost() -> None:
    shop = Rules(
        tuple(f"d{n}" for n in range(1000)), {f"b{n}": 2.0 for n in range(1000)}, {f"c{n}": 1 for n in range(100)}
    )
    found = listing(placement="home", exclude="5").rules(shop)
    assert len(found.deny) == 1002, "those that the model server is not told are left out of its answer"
    fields = found.to_fields()
    assert (len(fields["deny"]), len(fields["boosts"]), len(fields["categoryCaps"])) == (1000, 1000, 100)
    assert fields["deny"][:2] == ["5", "9"] and "8" in fields["boosts"] and "Drama" in fields["categoryCaps"]


@pytest.mark.parametrize(
    ("exclude", "ids"),
    [
        ("7", ("7",)),
        (["7", "8", "7"], ("7", "8")),
        ("7,8", ("7", "8", "7,8")),
        (["🛒", "a b"], ("🛒", "a b")),
        ([], ()),
    ],
)
def test_items_to_exclude_are_repeated_or_between_commas(exclude: Any, ids: tuple[str, ...]) -> None:
    assert listing(exclude=exclude).exclude == ids


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"placement": "hoem"}, "placement", '"hoem" is no placement; the placements are cart, home, hot'),
        ({"placement": ""}, "placement", '"" is no placement; the placements are cart, home, hot'),
        ({"placement": ["home", "hot"]}, "placement", "placement is given twice"),
        ({"placement": "x" * 500}, "placement", None),
        ({"placement": "cart"}, "placement", "cart is a placement of related, for requests about an item"),
        ({"window": "1h"}, "window", "window must be one of 24h, 7d, 30d, not 1h"),
        ({"window": ["24h", "7d"]}, "window", "window is given twice"),
        ({"exclude": ""}, "exclude", "exclude must have 1 to 256 characters, not 0"),
        ({"exclude": "7,,8"}, "exclude", "exclude must have 1 to 256 characters, not 0"),
        ({"exclude": "x" * 257}, "exclude", "exclude must have 1 to 256 characters, not 257"),
        ({"exclude": "\ud800"}, "exclude", "exclude is not valid Unicode"),
        ({"exclude": [str(n) for n in range(101)]}, "exclude", "exclude must hold at most 100 ids, not 101"),
        ({"exclude": ",".join(["7"] * 101)}, "exclude", "exclude must hold at most 100 ids, not 101"),
        ({"page": ["a", "b"]}, "page", "page is given twice"),
        (
            {"page": ""},
            "page",
            "page must be the nextPage of an answer to the same request; leave it out to begin again",
        ),
    ],
)
def test_each_bad_parameter_is_named_with_the_remedy(values: dict[str, Any], field: str, message: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        listing(**values)
    assert (caught.value.status, caught.value.field) == (400, field)
    assert message is None or caught.value.message == message
    assert len(caught.value.message) < 200


def test_a_placement_of_people_is_refused_about_an_item_and_popular_ones_are_for_both() -> None:
    with pytest.raises(InvalidRequest, match="home is a placement of recommendations, for requests about a person"):
        listing("related", placement="home")
    assert listing("related", placement="hot").stand_in == listing(placement="hot").stand_in == "trending"
    assert not listing(placement="hot").is_of_model and listing(placement="home").is_of_model


def test_a_shop_without_placements_is_told_how_to_write_some() -> None:
    with pytest.raises(InvalidRequest, match=r"the shop has none; rules/placements\.json defines them"):
        listing(known=Placements(), placement="home")


def test_placements_that_cannot_be_read_are_as_none() -> None:
    assert listing(known=None, placement="home").name == ""


def test_a_token_is_good_for_its_placement_and_person_alone() -> None:
    token = listing(placement="home").page.next_token((("7", 1.0),), 1)
    assert token is not None
    assert listing(placement="home", page=token).page.shown
    others: tuple[Any, ...] = ("hot", [])
    for other in others:
        with pytest.raises(InvalidRequest):
            listing(page=token, placement=other)
    with pytest.raises(InvalidRequest):
        Listing.from_query({"placement": ["home"], "page": [token]}, "recommendations", "43", lambda: PLACEMENTS, "key")
