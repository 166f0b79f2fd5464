"""The generated pages say what their sources say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reference import flags, markdown, plugins, roles, schemas

import docs

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("markup", "wanted"),
    [
        ("O(state=present) with C(-e workers=8)", "`state=present` with `-e workers=8`"),
        ("see M(dtf.cluster.topology), RV(run.state)", "see `dtf.cluster.topology`, `run.state`"),
        ("C(f(x\\)) ends", "`f(x)` ends"),
        ("C(f(x)) ends", "`f(x)` ends"),
        ("B(now) or I(never)", "**now** or *never*"),
        ("L(the page, https://example.org/a)", "[the page](https://example.org/a)"),
        (["One.", "Two\n  lines."], "One. Two lines."),
    ],
)
def test_markup_of_ansible_becomes_markdown(markup: str | list[str], wanted: str) -> None:
    assert markdown.prose(markup) == wanted


def test_a_table_drops_empty_columns_and_escapes_pipes() -> None:
    text = markdown.table(("A", "B", "C"), [("a|b", "", "1"), ("c", "", "2")])
    assert text == "| A | C |\n| --- | --- |\n| a\\|b | 1 |\n| c | 2 |"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, ""),
        (False, "`false`"),
        (0, "`0`"),
        ("", '`""`'),
        ("fast", "`fast`"),
        ([], "`[]`"),
        ({"a": 1}, '`{"a": 1}`'),
    ],
)
def test_a_default_is_shown_as_it_is_written(content: object, wanted: str) -> None:
    assert markdown.value(content) == wanted


def test_options_inside_options_are_named_by_their_path() -> None:
    entries = {
        "hosts": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "description": ["All."],
            "suboptions": {"name": {"type": "str", "choices": ["a", "b"], "description": "Its name."}},
        }
    }
    assert list(plugins.options(entries, "suboptions")) == [
        ("`hosts`", "list of dict", "yes", "", "All."),
        ("`hosts[].name`", "str", "", "", "Its name. One of `a`, `b`."),
    ]


SPECS: dict[str, Any] = {
    "main": {
        "description": ["Leaves a thing."],
        "options": {"a_thing": {"type": "int", "default": 3, "description": "How many."}},
    }
}


def test_a_readme_gets_its_table_once_and_keeps_its_words() -> None:
    first = roles.readme_with_variables("Leaves: a thing.\n\n# a\n", SPECS)
    assert "| `a_thing` | int | `3` | How many. |" in first
    assert roles.readme_with_variables(first, SPECS) == first
    after = first + "\n## After\n"
    assert roles.readme_with_variables(after, SPECS) == after


def test_a_table_in_a_readme_follows_its_specification() -> None:
    first = roles.readme_with_variables("Leaves: a thing.\n", SPECS)
    changed = json.loads(json.dumps(SPECS).replace("3", "4"))
    assert "`4`" in roles.readme_with_variables(first, changed)
    assert "`3`" not in roles.readme_with_variables(first, changed)


def test_every_field_of_a_schema_is_a_row() -> None:
    schema = {
        "$id": "dtf.x/1",
        "required": ["a"],
        "properties": {
            "a": {"$ref": "#/$defs/part"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/part"}},
            "maybe": {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"x": {"const": 1}}}]},
            "named": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
        },
        "$defs": {"part": {"type": "object", "description": "A part.", "properties": {"n": {"type": "integer"}}}},
    }
    rows = {row[0]: row[1:] for row in schemas.fields(schema, schema)}
    assert rows == {
        "`a`": ("object", "yes", "A part."),
        "`a.n`": ("integer", "", ""),
        "`list`": ("array of object", "", ""),
        "`list[].n`": ("integer", "", ""),
        "`maybe`": ("null or object", "", ""),
        "`maybe.x`": ("`1`", "", ""),
        "`named`": ("object of number", "", ""),
    }


def test_every_event_has_its_section() -> None:
    schema = json.loads((ROOT / "schemas" / docs.EVENTS).read_text(encoding="utf-8"))
    page = schemas.event_page(schema, "x")
    assert [name for name in schema["properties"]["event"]["enum"] if f"\n## `{name}`\n" not in page] == []


def test_every_flag_and_every_exit_code_has_its_row() -> None:
    page = flags.flags_page()
    assert [name for name in flags.flags.FLAGS if f"| `--{name}` |" not in page] == []
    assert [row[0] for row in flags.exit_code_rows()] == ["0", "64", "66", "75", "143"]
    assert str(Path.home()) + "/" not in page


def test_a_page_that_is_left_over_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    folder = tmp_path / docs.REFERENCE
    folder.mkdir(parents=True)
    for name in ("kept.md", "gone.md", "changed.md"):
        (folder / name).write_text("text\n")
    pages = {docs.REFERENCE / "kept.md": "text\n", docs.REFERENCE / "changed.md": "new\n", Path("new.md"): "new\n"}
    assert docs.stale(pages) == [docs.REFERENCE / "changed.md", docs.REFERENCE / "gone.md", Path("new.md")]
