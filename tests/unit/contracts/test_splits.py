from contracts import splits


def test_the_draw_is_part_of_the_format_because_two_programs_make_it() -> None:
    """Recorded: another formula would give the preparation and the reader of its dataset different last items."""
    assert splits.draw(0, "u1", "a") == 0xAB5B6FE0DDF7D55
    assert splits.draw(0, "日本", "é") != splits.draw(1, "日本", "é")


def test_neither_id_alone_decides() -> None:
    """Of three items at one time, each is drawn by about a third of the users."""
    drawn = [max("abz", key=lambda item: splits.draw(0, f"u{user}", item)) for user in range(3000)]
    assert all(900 < drawn.count(item) < 1100 for item in "abz")
