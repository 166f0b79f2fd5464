# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why runs and the thesis need not agree, in words: what differs between them, and which way that pulls.

What is said of the thesis is what it says of itself; what is said of the runs is read from their documents.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

#: What each reason begins with, whatever was measured.
CLOCK = (
    "In the thesis each worker timed itself, from the start of its own session to a global step target, while "
    "parameter servers kept the variables of earlier runs and finished pods were started again. A global step "
    "that does not begin at 0 makes a training look shorter than it was, and a worker that comes late times only "
    "what the others have left: one of its charts shows 30 times the speed from 3.5 times the workers. Here each "
    "run has new parameter servers, one clock, the chief's, and a common start: all workers are connected and "
    "have compiled their step before the first second counts."
)
NODES = (
    "The nodes of the Kind experiments are containers on one laptop: more of them bring more network and more of "
    "Kubernetes, but not one core more. In the cloud each node brings four."
)
LIMITS = (
    "Its pods on the laptop had one CPU and 256 MB each, those in the cloud no limit. With one CPU a parameter "
    "server is full sooner, and more of them can help earlier."
)
PROFILE = (
    "The thesis's program evaluates the whole test set of 10 000 images in every worker at every tenth step of "
    "its own, and writes summaries at every other: much of a worker's time is not training, and that part divides "
    "among the workers without a parameter server. The profile thesis repeats it; the profile fast leaves "
    "evaluation and summaries to the chief, so that training takes a larger share of the time and the limits of "
    "the parameter servers are met with fewer workers."
)
STEP = (
    "The global step counts batches that were learnt from, kept where the parameters are. In asynchronous "
    "training that is what the thesis's program counts too; in synchronous training it counts an update of "
    "several workers as one step."
)


def differences(thesis: Document, here: Document) -> list[str]:
    """Return what was measured otherwise than in the thesis, a sentence each.

    Args:
        thesis: its experiment, as ``thesis_experiments.Experiment.as_dict`` gives it.
        here: the same of the runs.
    """
    words = here["words"]
    found = [
        f"{_number(words[word])} {word.replace('_', ' ')} instead of {_number(thesis[word])}"
        for word in ("steps", "hidden_units", "batch_size", "learning_rate")
        if words[word] != thesis[word]
    ]
    for word in ("workers", "ps", "nodes"):
        lacking = [value for value in thesis[word] if value not in here[word]]
        others = [value for value in here[word] if value not in thesis[word]]
        found += [f"no run with {_alternatives(lacking)} {word}"] if lacking else []
        one = {"workers": "worker", "nodes": "node"}.get(word, word) if others == [1] else word
        found += [f"{_list(others)} {one}, which the thesis does not have"] if others else []
    if words["profile"] != "thesis":
        found.append(f"profile {words['profile']}, which leaves out most of what the thesis's program did")
    if words["sync"]:
        found.append("synchronous steps instead of asynchronous ones")
    return found + _other_limits(thesis["pods"], words["runtime"], here["limits"])


def _other_limits(thesis: str, runtime: str, limits: Mapping[str, str] | None) -> list[str]:
    """Return what tasks are limited to in another way than the thesis's pods."""
    if runtime == "process":
        return ["processes of the hosts instead of pods, limited to nothing"]
    if limits is not None:
        given = ", ".join(f"{name} {value}" for name, value in sorted(limits.items()))
        return [f"pods limited to {given}, the thesis's to {thesis}"]
    return [] if thesis == "not limited" else [f"pods without the limits of the thesis's ({thesis})"]


def reasons(experiments: Sequence[Document]) -> list[dict[str, str]]:
    """Return what may keep the readings from agreeing, as ``{title, text}``.

    Args:
        experiments: those of the document; what was not measured says nothing.
    """
    measured = [entry for entry in experiments if entry["here"]]
    return [
        {"title": "Its clock", "text": _clock(measured)},
        {"title": "Its number of nodes", "text": _nodes(measured)},
        {"title": "The limits of its pods", "text": _limits(measured)},
        {"title": "What a worker does between two steps", "text": _profile(measured)},
        {"title": "What a step is", "text": _step(measured)},
        {"title": "How long it trained", "text": _length(measured)},
        *({"title": "What else the machine did", "text": text} for text in _load(measured)),
    ]


def _clock(measured: Sequence[Document]) -> str:
    parts = [CLOCK]
    runs = sum(entry["here"]["runs"] for entry in measured)
    late = sum(entry["here"]["doubts"].get("first_step", 0) for entry in measured)
    if runs:
        parts.append(
            f"All {runs} runs counted here began at global step 0."
            if not late
            else f"Of the {runs} runs counted here {late} did not begin at global step 0: do not trust them either."
        )
    ends = [entry["own_clock"] for entry in measured if entry["own_clock"]]
    if ends:
        low, high = min(end["low"] for end in ends), max(end["high"] for end in ends)
        parts.append(
            "A clock that starts when the tasks begin to connect, as a worker's own would, had read "
            f"{low:.2f} to {high:.2f} times what stands here, by the means of the cells."
        )
    return " ".join(parts)


def _nodes(measured: Sequence[Document]) -> str:
    parts = [NODES]
    lines = sorted({line["nodes"] for entry in measured for line in entry["lines"]})
    if measured:
        cores = sorted({entry["here"]["cores"] for entry in measured if entry["here"]["cores"]})
        told = f", with {_list(cores)} cores by what the hosts say of themselves" if cores else ""
        parts.append(f"Here {_list(lines)} node{'s were' if lines != [1] else ' was'} measured{told}.")
        if lines == [1]:
            parts.append("What the thesis says of several nodes can only be seen on a site that has them.")
    crowded = [
        point["tasks"] / entry["here"]["cores"]
        for entry in measured
        if entry["here"]["cores"]
        for line in entry["lines"]
        for point in line["points"]
    ]
    if crowded and max(crowded) > 1:
        parts.append(
            f"Up to {max(crowded):.1f} tasks shared a core here; the laptop of the thesis had 8 for 10 tasks at most. "
            "Where tasks wait for cores more of them cannot train faster, and the minimum moves to fewer workers."
        )
    return " ".join(parts)


def _limits(measured: Sequence[Document]) -> str:
    parts = [LIMITS]
    largest = max((entry["largest_task_bytes"] or 0 for entry in measured), default=0)
    if largest:
        parts.append(
            "256 MB cannot be repeated with today's TensorFlow: the largest task here had "
            f"{largest / 1e6:.0f} MB resident. A pod of the laptop's series gets its one CPU, and memory enough."
        )
    if any(entry["here"]["words"]["runtime"] == "process" for entry in measured):
        parts.append("Processes, as measured here, have no such limit at all.")
    return " ".join(parts)


def _profile(measured: Sequence[Document]) -> str:
    profiles = sorted({entry["here"]["words"]["profile"] for entry in measured})
    parts = [PROFILE]
    if profiles:
        parts.append(f"These runs have the profile {_list(profiles)}.")
    return " ".join(parts)


def _step(measured: Sequence[Document]) -> str:
    if any(entry["here"]["words"]["sync"] for entry in measured):
        return STEP + " These runs are synchronous, and cannot be laid beside its numbers of steps."
    return (
        f"{STEP} These runs are asynchronous, as the thesis's program is unless asked otherwise." if measured else STEP
    )


def _length(measured: Sequence[Document]) -> str:
    short = [
        (entry["here"]["words"]["steps"], entry["thesis"]["steps"])
        for entry in measured
        if entry["here"]["words"]["steps"] != entry["thesis"]["steps"]
    ]
    if not measured:
        return "Nothing was measured yet."
    if not short:
        return "These runs make as many steps as the thesis's."
    told = ", ".join(f"{_number(here)} instead of {_number(thesis)}" for here, thesis in dict.fromkeys(short))
    return (
        f"Not as long as the thesis: {told} steps. Short runs vary more from one to the next, and what happens once a "
        "run weighs more in them. The full grid makes as many steps as the thesis: thesis_grid=full."
    )


def _load(measured: Sequence[Document]) -> Iterator[str]:
    """Yield what is to be said of machines that were busy, if any was."""
    runs = sum(entry["here"]["runs"] for entry in measured)
    busy = sum(entry["here"]["doubts"].get("load", 0) for entry in measured)
    if busy:
        yield (
            f"Of the {runs} runs counted here {busy} found a host busy with something else when they began. What that "
            "took from them is in their times and in the width of the intervals: measure again on quiet machines "
            "before you believe a verdict."
        )


def _number(value: object) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def _list(found: Sequence[object]) -> str:
    texts = [_number(entry) for entry in found]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1] if texts else "no"


def _alternatives(found: Sequence[object]) -> str:
    texts = [_number(entry) for entry in found]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " or " + texts[-1]
