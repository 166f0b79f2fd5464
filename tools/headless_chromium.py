"""Chromium without a window and alone: tests open the pages of reports in it, ``bench_statistics.py`` times them."""

from __future__ import annotations

import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

#: Program and the Debian package it is of.
PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver"}
#: No window, no calls home, nothing of the user's own.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: When the page was loaded and its own beginning had run, in milliseconds since it was asked for; once that is known.
LOADED = """
const done = arguments[0];
const look = () => {
  const end = performance.getEntriesByType('navigation')[0].loadEventEnd;
  if (end) { done(end); } else { setTimeout(look, 1); }
};
look();
"""


def missing() -> list[str]:
    """Return the packages of programs that are not there."""
    return [package for program, package in PACKAGES.items() if shutil.which(program) is None]


def chromium(profile: Path) -> webdriver.Chrome:
    """Return a browser that keeps what is its own in a folder; whoever has it quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))


def seconds_to_load(driver: webdriver.Chrome) -> float:
    """Return how long the page that is open took, from its being asked for to the end of its load event."""
    return float(driver.execute_async_script(LOADED)) / 1000
