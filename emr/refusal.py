"""The two ways a preparation ends without a dataset: the data is refused, or something broke."""


class Refused(Exception):
    """The data itself is not fit to learn from; running again with the same data changes nothing.

    `reasons` are sentences for a person, each naming the column, the file or the number that is wrong.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


class PreparationFailed(Exception):
    """A fault outside the data's content, named by the message: an unreadable file, a missing parent, no Java."""


def printable(text: str, limit: int = 200) -> str:
    """`text` on one line of at most `limit` characters, so that a name found in the data cannot forge a log line."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"
