"""A part is in the store whole or not at all, under the digest of what it was made from."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bundle_builder import builder, debian, golang, parts, store
from bundle_builder.store import Store

KEY = "0" * 20


def put(place: Store, folder: Path, key: str = KEY, content: bytes = b"program") -> store.Made:
    """Keep a file under a key."""
    path = folder / "made"
    path.write_bytes(content)
    path.chmod(0o700)
    return place.keep("thing", key, path, "sha256:d")


def test_a_part_is_found_again(tmp_path: Path) -> None:
    place = Store(tmp_path / "store")
    assert place.find("thing", KEY) is None
    made = put(place, tmp_path)
    assert place.find("thing", KEY) == made
    assert place.intact(made)
    assert made.path == tmp_path / "store" / f"thing-{KEY}" / "thing"
    assert (made.path.read_bytes(), made.path.stat().st_mode & 0o777) == (b"program", 0o755)
    assert (made.size, made.digest) == (7, "sha256:d")
    assert place.find("thing", "1" * 20) is None


def test_an_entry_that_is_not_whole_is_none(tmp_path: Path) -> None:
    place = Store(tmp_path / "store")
    made = put(place, tmp_path)
    made.path.write_bytes(b"prog")
    assert place.find("thing", KEY) is None
    put(place, tmp_path)
    (made.path.parent / "part.json").write_text("{", encoding="utf-8")
    assert place.find("thing", KEY) is None


def test_damage_that_keeps_the_size_is_seen(tmp_path: Path) -> None:
    place = Store(tmp_path / "store")
    made = put(place, tmp_path)
    made.path.write_bytes(b"PROGRAM")
    assert place.find("thing", KEY) == made
    assert not place.intact(made)
    assert place.intact(put(place, tmp_path)), "it is replaced by what is made anew"


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Store(tmp_path / "store")

    def interrupted(_: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(place, tmp_path)
    assert list((tmp_path / "store").iterdir()) == []


def test_what_a_killed_build_left_behind_is_cleared_away(tmp_path: Path) -> None:
    place = Store(tmp_path / "store")
    left = tmp_path / "store" / ".tmp-abc"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    with place.alone("waiting"):
        assert not left.exists()


def test_a_second_build_waits_for_the_first(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bundle_builder.store import Store\n"
        "with Store(Path(sys.argv[1])).alone('waiting', lambda text: print(text, flush=True)):\n"
        "    print('held', flush=True)"
    )
    place = Store(tmp_path)
    with place.alone("waiting"):
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            cwd=Path(store.__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert second.stdout is not None
        assert second.stdout.readline() == "waiting\n"
        assert second.poll() is None
    with second:
        assert second.stdout.read() == "held\n"


def test_old_entries_go_and_those_of_others_stay(tmp_path: Path) -> None:
    place = Store(tmp_path / "store")
    other = tmp_path / "store" / f"thing-else-{KEY}"
    other.mkdir(parents=True)
    for index in range(4):
        put(place, tmp_path, f"{index}" * 20)
        time.sleep(0.01)
    assert {path.name for path in (tmp_path / "store").iterdir()} == {
        other.name,
        "thing-" + "2" * 20,
        "thing-" + "3" * 20,
    }


@pytest.mark.parametrize(
    ("cache", "expected"), [("/somewhere", "/somewhere/dtf/bundle"), ("", "/me/.cache/dtf/bundle")]
)
def test_the_cache_is_where_the_user_has_caches(monkeypatch: pytest.MonkeyPatch, cache: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/me")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert store.default_folder() == Path(expected)


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> builder.Builder:
    """A builder on a machine whose packages are known."""
    packages = [debian.Package("nftables", "1.0", "a" * 64)]
    monkeypatch.setattr(debian, "installed", lambda names: dict.fromkeys(names, "12"))
    monkeypatch.setattr(debian, "resolve", lambda _: packages)
    return builder.Builder(Store(tmp_path), print)


def test_keys_are_of_the_inputs_alone(maker: builder.Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {part.name: maker.program_key(part) for part in parts.PROGRAMS}
    assert len(set(keys.values())) == len(keys)
    monkeypatch.setenv("GOFLAGS", "-race")
    monkeypatch.setenv("CGO_CFLAGS", "-O0")
    again = builder.Builder(maker.store, print, maker.architecture)
    assert {part.name: again.program_key(part) for part in parts.PROGRAMS} == keys


@pytest.mark.parametrize("change", ["sources", "settings", "stamps", "packages", "architecture", "recipe"])
def test_a_changed_input_is_another_key(maker: builder.Builder, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    runc, image = parts.program("runc"), next(image for image in parts.IMAGES if image.name == "flannel")
    before = maker.program_key(runc), maker.image_key(image)
    match change:
        case "sources":
            monkeypatch.setattr(parts.Module, "inputs", lambda _: {"go.mod": "other"})
        case "settings":
            monkeypatch.setattr(golang, "_FIXED", {**golang._FIXED, "GOAMD64": "v3"})
        case "stamps":
            monkeypatch.setattr(parts.Module, "linker_flags", lambda _: "-s")
        case "packages":
            monkeypatch.setattr(debian, "installed", lambda names: dict.fromkeys(names, "13"))
        case "architecture":
            maker.architecture = "arm64"
        case _:
            monkeypatch.setattr(builder, "RECIPE", builder.RECIPE + 1)
    after = maker.program_key(runc), maker.image_key(image)
    assert before[0] != after[0]
    assert before[1] != after[1], "an image's key holds those of its programs"


def test_an_image_changes_with_its_packages_and_its_compression(
    maker: builder.Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = next(image for image in parts.IMAGES if image.name == "kube-proxy")
    keys = [maker.image_key(image)]
    maker._packages = {"netfilter": [debian.Package("nftables", "1.1", "b" * 64)]}
    keys.append(maker.image_key(image))
    monkeypatch.setattr(builder.oci, "LEVEL", 3)
    keys.append(maker.image_key(image))
    assert len(set(keys)) == 3


def test_a_key_is_a_digest_of_a_document_whatever_its_order() -> None:
    assert store.key({"a": 1, "b": [2]}) == store.key({"b": [2], "a": 1})
    assert store.key({"a": 1}) != store.key({"a": "1"})
    assert json.dumps(store.key({})).strip('"').isalnum()
