"""The two ways in which a preparation ends without a dataset: the data is refused, or there is a fault."""


class Refused(Exception):
    """The data cannot be used for training; another run with the same data has the same result.

    `reasons` are sentences for a person, each naming the column, the file or the number that is wrong.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


class PreparationFailed(Exception):
    """A fault outside the data's content: an unreadable file, a missing parent, no Java. The message names it."""


def printable(text: str, limit: int = 200) -> str:
    """`text` on one line of at most `limit` characters, so that a name found in the data cannot forge a log line."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"
