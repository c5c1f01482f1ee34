"""The words of the console, each explained in one place: on hover, on focus, and all of them behind the button "?"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nicegui import ui

TERMS: Mapping[str, str] = {
    "RUNNING": "It is under way.",
    "PARKED": "It waits for what it needs (capacity, a quota, the endpoint, its turn) and goes on by itself.",
    "DEPLOYED": "Its model passed the gate and was put on the endpoint.",
    "REJECTED": "The run went well, and the gate or a person refused its model. The earlier model serves on.",
    "UNCHANGED": "Its model equals the one that serves in every figure, so there was nothing to deploy.",
    "FAILED": "It ended with an error. Nothing was lost: the earlier model serves on, and it can be restarted.",
    "ABORTED": "A person stopped it. It can be restarted.",
    "ROLLED_BACK": "Its model was on the endpoint and was taken off again, by an alarm or by a person.",
    "RESTORED": "An earlier model was put back and serves.",
    "SPLIT": "A second model answers a share of the people.",
    "SUCCEEDED": "It came to its end without an error.",
    "ACCEPTED": "The model passed every check of the gate.",
    "TIMED_OUT": "It took longer than it may.",
    "CAUGHT": "This state failed, and the state machine went on along its way for failures.",
    "RETRIED": "This state failed and is tried again.",
    "PREPARING": "Spark cleans and splits the data.",
    "PREPARED": "The data are ready; a training on them starts by itself.",
    "CLAIMED": "A run trains on these data, or has done so.",
    "STALE": "Newer data were there before, so nothing was trained on these.",
    "QUARANTINED": "The data contradict themselves or what was known before; they were set aside with the reason.",
    "REFUSED": "It cannot be used as it is; the reason says what to change.",
    "candidate": "The model that was just trained and asks to serve.",
    "incumbent": "The model that served when the candidate was judged.",
    "champion": "The model that serves.",
    "challenger": "A second model that answers a share of the people, until their clicks decide.",
    "baseline": "A simple method, such as what is popular, measured on the same test. A model must beat it.",
    "gate": "The check between training and serving: a model that is worse than the one that serves does not pass.",
    "policy": "The limits that the gate judges by. The page Gate shows and publishes them.",
    "leave-last-out": "Each person's last interaction is hidden from the training and is what the model has to find.",
    "global-time": "Everything after one moment is hidden from the training and is what the model has to find.",
    "NDCG": "How high the hidden item stands in the lists: 1 if it is first in all of them, 0 if it is in none.",
    "hit rate": "The share of people whose hidden item is in their list at all.",
    "coverage": "The share of all items that are in anybody's list.",
    "largest exposure": "The share of people who get the item that is recommended most.",
    "slice": "A part of the people or items that is looked at by itself.",
    "interval of 95 %": "The true difference is in it in 95 of 100 such tests. One that crosses 0 shows nothing.",
    "dataset version": "One prepared state of the data. Its name begins with the time of the data.",
    "drop": "A folder of files under raw/, closed by _SUCCESS: that starts a preparation.",
    "model package": "The registered model with its approval; what is deployed comes from there.",
    "endpoint": "The machines of SageMaker that hold the model and answer.",
    "split": "Two models answer beside each other, each person always by the same one.",
    "roll back": "To let a model that has served before serve again.",
    "popular": "An answer without the model: what most people choose.",
    "personalized": "An answer of the model for a person that it knows.",
    "session": "An answer of the model by what a visitor just did.",
    "related": "An answer for the page of an item: what goes with it.",
    "batch": "An answer from the lists that were stored for everybody, because the endpoint did not answer.",
    "p99": "99 of 100 are faster than this.",
}
"""Each term with its explanation: one or two short sentences."""

CSS = """
.term { position: relative; cursor: help; text-decoration: underline dotted; text-underline-offset: 3px }
.term-text {
  position: absolute; left: 0; top: 100%; z-index: 7000; width: max-content; max-width: min(20rem, 80vw);
  display: none; padding: 6px 10px; margin-top: 4px; border-radius: 4px; font-size: 0.8rem; font-weight: normal;
  white-space: normal; background: #27272a; color: #fff; line-height: 1.35;
}
.term:hover > .term-text, .term:focus > .term-text { display: block }
"""
_ANY = re.compile(
    r"(?<![\w-])(" + "|".join(re.escape(term) for term in sorted(TERMS, key=len, reverse=True)) + r")s?(?![\w-])"
)


def term(word: str, shown: str = "") -> ui.element:
    """A word with its explanation on hover and on focus; a word that needs none is plain text."""
    explanation = TERMS.get(word)
    if explanation is None:
        return ui.label(shown or word)
    return explained(shown or word, explanation)


def explained(shown: str, explanation: str) -> ui.element:
    """A text with an explanation on hover and on focus."""
    with ui.element("span").classes("term").props("tabindex=0") as found:
        ui.label(shown).classes("inline")
        text = ui.label(explanation).classes("term-text").props("role=tooltip")
    found.props["aria-describedby"] = text.html_id
    return found


def sentence(text: str) -> ui.element:
    """A sentence in which the first use of each term is explained."""
    with ui.element("div").classes("break-words") as found:
        position, known = 0, set[str]()
        for match in _ANY.finditer(text):
            word = match.group(1)
            if word in known:
                continue
            known.add(word)
            _plain(text[position : match.start()])
            term(word, match.group(0))
            position = match.end()
        _plain(text[position:])
    return found


def _plain(text: str) -> None:
    if text:
        ui.label(text).classes("inline whitespace-pre-wrap")


def button() -> ui.button:
    """The button that shows all terms."""
    with ui.dialog() as dialog, ui.card().classes("max-w-2xl w-full"):
        ui.label("Words of this console").classes("text-lg font-bold").props('role="heading" aria-level="2"')
        filled = ui.column().classes("w-full gap-2")
        ui.button("Close", on_click=dialog.close).props("flat")

    def show() -> None:
        if not filled.default_slot.children:
            with filled:
                for word, explanation in sorted(TERMS.items(), key=lambda one: one[0].lower()):
                    with ui.element("div"):
                        ui.label(word).classes("font-bold inline")
                        ui.label(f": {explanation}").classes("inline")
        dialog.open()

    return ui.button(icon="help_outline", on_click=show).props('flat dense color=white aria-label="Words explained"')
