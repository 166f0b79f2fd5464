"""A browser without a window, and pages of benchmarks that were never run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import synthetic_benchmark
from headless_chromium import chromium, missing
from selenium import webdriver

from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_directory import read_plan, read_runs
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.report_files import report_files
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_document import thesis_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_page import thesis_files
from tests.fixtures.thesis_runs import measured


def _install() -> None:
    """Install the browser where it is missing, as the laboratory does with what it needs."""
    packages = missing()
    if not packages:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip(f"not there, and only root can install them with apt-get: {', '.join(packages)}")
    # Somebody else may be at it as well.
    apt = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "update"], check=True, env=environment, stdout=subprocess.DEVNULL)
    install = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)


@dataclass
class Browser:
    """A page in a browser, with what it asks for and complains about."""

    driver: webdriver.Chrome

    def open(self, page: Path, width: int = 1400, scheme: str = "light", media: str = "screen") -> None:
        """Open a page from its file in a window of a width."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(page.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Return what stands in the console since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return every address that was asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium without a window, with a profile of its own."""
    _install()
    driver = chromium(tmp_path_factory.mktemp("profile"))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def _page(folder: Path, words: dict[str, str]) -> Path:
    law = synthetic_benchmark.Law(one=60.0, contention=0.06, coherency=0.006, noise=0.03)
    synthetic_benchmark.folder(folder, words, law, 1)
    document = benchmark_document(folder.name, read_runs(folder), read_plan(folder))
    (folder / "benchmark.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "report.html").write_bytes(report_files(folder, document, [])["report.html"])
    return folder / "report.html"


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep with everything in it."""
    words = {"workers": "1,2,4,8", "ps": "1,2", "runtime": "process,kubernetes", "repeats": "5"}
    return _page(tmp_path_factory.mktemp("results") / "sweep", words)


@pytest.fixture(scope="session")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of more than 10 000 runs, in 240 cells."""
    words = {
        "workers": "1,2,4,8,16",
        "ps": "1,2,3,4,5,6,7,8",
        "nodes": "1,2,3",
        "batch_size": "10,20",
        "repeats": "42",
    }
    return _page(tmp_path_factory.mktemp("results") / "large", words)


@pytest.fixture(scope="session")
def thesis_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The thesis's page of a site that measured three of its experiments; of its readings there is every verdict."""
    runs = {
        "kind-workers": measured("kind-workers", lambda x, _nodes: 10 * (1 + 0.2 * abs(x - 4))),
        "kind-ps": measured("kind-ps", lambda _x, _nodes: 10.0),
        "google-workers": measured("google-workers", lambda x, _nodes: 60 / x, 6),
    }
    path = tmp_path_factory.mktemp("results") / "thesis.html"
    path.write_bytes(thesis_files(thesis_document("thesis", runs), [])["thesis.html"])
    return path
