"""Manifests are read as Helm reads them, and written so that a difference can be read."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils import manifest_yaml
from ansible_collections.dtf.cluster.plugins.module_utils.helm_manifests import Rendered, compare, difference, read
from ansible_collections.dtf.cluster.plugins.module_utils.manifest_yaml import documents, text


@pytest.fixture(autouse=True, params=["with libyaml", "without"])
def either_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyYAML comes with and without its library in C."""
    if request.param == "without":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    manifest_yaml._loader.cache_clear()
    yield
    manifest_yaml._loader.cache_clear()


def value(written: str) -> Any:
    ((_, found),) = documents(written)[0]
    return found


def release(data: str) -> Rendered:
    indented = "\n".join("  " + line for line in data.splitlines())
    written = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata:\n{indented}\n"
    found, problems = documents(written)
    assert problems == []
    return read(found, "gpu")


def test_documents_have_the_place_that_helm_writes_before_them() -> None:
    written = (
        "---\n# Source: demo/templates/a.yaml\na: 1\n---\n# nothing\n--- # Source: in/line.yaml\n{b: 2}\n---\r\nc: 3"
    )
    assert documents(written) == (
        [("document 1 (demo/templates/a.yaml)", {"a": 1}), ("document 2", None), ("document 3", {"b": 2}),
         ("document 4", {"c": 3})],
        [],
    )  # fmt: skip


def test_three_hyphens_inside_a_text_end_no_document() -> None:
    assert value("a: |\n  x\n  ---\n  y\n---") == {"a": "x\n---\ny\n"}


@pytest.mark.parametrize("written", ["", "\n", "---\n", "---\n---\n"])
def test_nothing_is_no_document(written: str) -> None:
    assert documents(written) == ([], [])


def test_what_only_yaml_1_1_knows_is_read_as_text() -> None:
    assert value("[=, 2026-01-01, 1:30, 1:30.5, 012, 0x1f, 1_000, .5, 1e3, 2.0, yes, ~]") == [
        "=", "2026-01-01", "1:30", "1:30.5", 10, 31, 1000, 0.5, 1000, 2, True, None,
    ]  # fmt: skip


def test_every_name_is_a_text_and_none_is_lost() -> None:
    assert value("{1: a, true: b, ~: c, 1.5: d}") == {"1": "a", "true": "b", "null": "c", "1.5": "d"}
    assert value("base: &base {a: 1}\nother: {<<: *base, b: 2}")["other"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{b: 1, a: [x]}", "a:\n- 'x'\n# why\nb: 1"),
        ("{a: 1.0}", "{a: 1}"),
        ("{1: x, true: y}", "{'1': x, 'true': y}"),
    ],
)
def test_notation_is_no_change(one: str, other: str) -> None:
    assert compare(release(one).objects, release(other).objects) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{a: true}", "{a: 1}"),
        ("{a: '1'}", "{a: 1}"),
        ("{a: 1:30}", "{a: 90}"),
        ("{a: 2026-01-01}", "{a: 2026-01-01T00:00:00Z}"),
        ("{a: ''}", "{a: null}"),
    ],
)
def test_another_value_is_a_change(one: str, other: str) -> None:
    assert len(compare(release(one).objects, release(other).objects)) == 1


def test_a_difference_is_yaml_that_a_person_reads() -> None:
    before, after = release("run.sh: |\n  echo one\n  echo two"), release("run.sh: |\n  echo one\n  echo 2")
    (shown,) = difference(compare(before.objects, after.objects), text)
    assert "  run.sh: |\n    echo one\n    echo two\n" in shown["before"]
    assert shown["after"] == shown["before"].replace("echo two", "echo 2")


def test_what_is_written_is_read_as_the_same() -> None:
    shared = {"a": ["1", "yes", "2026-01-01", "1:30", "=", "é", "x\ny \n", ""], "n": None, "t": True, "f": 0.5}
    document = {"one": shared, "two": shared}
    assert "&" not in text(document)
    assert value(text(document)) == document


def test_every_problem_is_told_at_once_without_what_it_says() -> None:
    written = """\
# Source: demo/templates/broken.yaml
kind: Secret
stringData: {a: hiddenVALUE
---
a: *hiddenVALUE
---
a: 1
---
a: !!binary aGlkZGVu
---
a: !hiddenVALUE x
---
? [hiddenVALUE]
: 1
---
a: "\x07hiddenVALUE"
"""
    found, problems = documents(written)
    assert [place for place, _ in found] == ["document 3"]
    assert [problem.field for problem in problems] == [
        "document 1 (demo/templates/broken.yaml)",
        *(f"document {position}" for position in (2, 4, 5, 6, 7)),
    ]
    assert "hiddenVALUE" not in "".join(str(problem) for problem in problems)
