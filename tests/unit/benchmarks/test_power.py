"""The power of the gate grows with a user's held-out purchases, as the benchmark prints it."""

from __future__ import annotations

from benchmarks import gate


def test_more_held_out_purchases_of_a_user_see_the_same_gain_more_often() -> None:
    shown = gate.power(users=200, shops=1)
    rows = [[column._cells[place] for column in shown.columns] for place in range(shown.row_count)]
    assert [row[0] for row in rows] == [str(each) for each in gate.HELD_OUT]
    errors, seen = ([float(str(row[place]).rstrip("%")) for row in rows] for place in (1, 3))
    assert errors == sorted(errors, reverse=True) and seen == sorted(seen)
    assert 150 < errors[0] < 250
    lets_through = [float(str(row[4]).rstrip("%")) for row in rows]
    assert max(lets_through) < 5, "a worse model passes less often than an equal one"
