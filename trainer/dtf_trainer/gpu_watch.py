"""Looks at a worker's GPUs while it trains: runs nvidia-smi once, beside the training, and reads what it prints.

One process that repeats itself costs the machine less than one a look, and the training nothing: a thread sleeps until
there is a line. Whatever goes wrong with it is told in the event `gpu` and tried no second time.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from .gpu_samples import FIELDS, WINDOW_SECONDS, Load, Sample, device_records, given_devices, read_instances, read_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .flags import TaskConfig
    from .gpu_samples import Instance

PROGRAM: Final = "nvidia-smi"

FIRST_ANSWER_SECONDS: Final = 60.0
"""How long the first line may take: a driver that nobody uses initialises every card of its host first."""

SILENCE_SECONDS: Final = 15.0
"""How long a later line may be late, and a list take: a card that hangs lets nvidia-smi wait for it for ever."""

_MOST_WORDS: Final = 300
_MOST_BYTES: Final = 1 << 16


class GpuWatch:
    """The GPUs of one worker; ``environ`` is the task's.

    ``first_answer`` and ``silence`` are the seconds for which nvidia-smi may say nothing, at first and later.
    """

    def __init__(
        self,
        config: TaskConfig,
        environ: Mapping[str, str],
        *,
        first_answer: float = FIRST_ANSWER_SECONDS,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        """Remember what to look at; nothing is started yet."""
        self.tensorflow_gpus: int | None = None
        """How many GPUs TensorFlow has found; ``None`` before it was asked."""
        self._config = config
        self._interval = config.gpu_interval_seconds
        self._environ = environ
        self._first_answer = first_answer
        self._silence = silence
        self._cards: dict[str, Sample] = {}
        self._instances: list[Instance] | None = None
        self._loads: dict[str, Load] = {}
        self._lock = threading.Lock()
        self._words = ""
        self._problem: str | None = None
        self._began: float | None = None
        self._over = False
        self._told = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to look, in a thread; what TensorFlow's import takes, the driver takes too."""
        threading.Thread(target=self._look, name="gpus", daemon=True).start()

    def begin(self) -> None:
        """Say that training begins: what is seen from now on counts."""
        self._began = time.monotonic()

    def end(self) -> None:
        """Say that training is over: nothing that is seen later counts."""
        self._over = True

    def report(self) -> dict[str, Any]:
        """Return the fields of the event `gpu`, and look no longer. It waits for nobody."""
        self._over = self._told = True
        problem, process = self._problem, self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
        with self._lock:
            if problem is None and self._words:
                problem = f"{PROGRAM} said: {self._words}"
            if problem is None and not self._cards:
                problem = f"{PROGRAM} had not answered yet"
            given = given_devices(
                list(self._cards.values()),
                self._instances or (),
                self._environ,
                asked=self._config.num_gpus,
                index=self._config.task_index,
                found=self.tensorflow_gpus,
            )
            devices, left_out = device_records(given, self._loads)
        fields: dict[str, Any] = {
            "asked": self._config.num_gpus,
            "tensorflow_gpus": self.tensorflow_gpus,
            "interval_seconds": self._interval,
            "problem": problem,
            "devices": devices,
        }
        return {**fields, "left_out": left_out} if left_out else fields

    def _look(self) -> None:
        program = shutil.which(PROGRAM, path=self._environ.get("PATH"))
        if program is None:
            self._problem = f"there is no {PROGRAM} in PATH"
            return
        query = [program, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
        repeated = [f"--loop-ms={max(1, round(self._interval * 1000))}"] if self._interval else []
        try:
            self._process = process = subprocess.Popen(
                [*query, *repeated],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as problem:
            self._problem = f"{PROGRAM} cannot be run: {problem}"
            return
        if self._told:
            # The task is ending: nobody else would end it.
            process.kill()
        try:
            self._problem = self._listen(process, program)
        except Exception as problem:  # noqa: BLE001  whatever it is, the training goes on without
            self._problem = f"{PROGRAM} cannot be read: {problem}"
        finally:
            process.kill()

    def _listen(self, process: subprocess.Popen[bytes], program: str) -> str | None:
        """Read lines until there are no more of them; return why, where they should not have ended."""
        assert process.stdout is not None  # noqa: S101  it was asked for
        descriptor = process.stdout.fileno()
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN | select.POLLHUP)
        rest = b""
        patience = self._first_answer
        while waiting.poll(patience * 1000):
            chunk = os.read(descriptor, _MOST_BYTES)
            if not chunk:
                return self._farewell(process)
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MOST_BYTES:
                return f"{PROGRAM} prints no lines"
            for line in lines:
                self._hear(line.decode(errors="replace"), program)
            patience = self._interval + self._silence
        return f"{PROGRAM} said nothing for {patience:g} s"

    def _hear(self, line: str, program: str) -> None:
        sample = read_line(line)
        if sample is not None and sample.divided and self._instances is None:
            self._instances = self._list(program)
        with self._lock:
            if sample is None:
                self._note(line)
                return
            self._cards.setdefault(sample.uuid, sample)
            if self._began is None or self._over:
                return
            seconds = time.monotonic() - self._began
            if seconds >= WINDOW_SECONDS:
                self._loads.setdefault(sample.uuid, Load()).add(sample, seconds)

    def _note(self, line: str) -> None:
        """Keep what is no sample, once."""
        said = " ".join(line.split())
        if said not in self._words:
            self._words = f"{self._words} {said}".strip()[:_MOST_WORDS]

    def _list(self, program: str) -> list[Instance]:
        try:
            listed = subprocess.run(
                [program, "-L"],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._silence,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        return read_instances(listed.stdout.decode(errors="replace"))

    def _farewell(self, process: subprocess.Popen[bytes]) -> str | None:
        """Return why the program ended, unless it was to."""
        try:
            code = process.wait(self._silence)
        except subprocess.TimeoutExpired:
            return f"{PROGRAM} said no more and did not end"
        if code == 0 and not self._interval and self._cards:
            return None
        return f"{PROGRAM} ended with exit code {code}: {self._words}".rstrip(": ")
