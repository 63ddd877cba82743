"""Chromium itself, driven through its DevTools pipe: what a page asks for, complains about and looks like."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_PLUG = "import os, sys; r, w, *c = sys.argv[1:]; os.dup2(int(r), 3); os.dup2(int(w), 4); os.execv(c[0], c)"
_SPEAKS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Page:
    """One tab.

    Attributes
    ----------
    requests : list of str
        Addresses it has asked for, data URIs left out.
    complaints : list of str
        What it said on the console, and the errors it threw.
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def close(self) -> None:
        """Ask the browser to end."""
        self._session = None
        self._ask("Browser.close")

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Load a file and wait until all of it is there."""
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url=path.resolve().as_uri())
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression."""
        found = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, *, pressed: bool = False) -> None:
        """Move, press or release the mouse at a place of the window: mouseMoved, mousePressed, mouseReleased."""
        button = "none" if kind == "mouseMoved" and not pressed else "left"
        self._ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=int(pressed),
            clickCount=int(kind != "mouseMoved"),
        )  # fmt: skip

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of the first element of a CSS selector."""
        x, y = self.place(selector)
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, pressed=True)
        self.mouse("mouseReleased", x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place of the window, move in steps, and release at the other."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, pressed=True)
        for step in (0.25, 0.5, 0.75, 1):
            x, y = (a + step * (b - a) for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, pressed=True)
        self.mouse("mouseReleased", *end)

    def place(self, selector: str) -> tuple[float, float]:
        """Bring an element into the window and return the place of its middle."""
        x, y = self.evaluate(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); const b = e.getBoundingClientRect();"
            f" return [b.x + b.width / 2, b.y + b.height / 2]; }})(document.querySelector({json.dumps(selector)}))"
        )
        return x, y

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG."""
        found = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while not data.endswith(b"\0"):
            byte = self._reader.read(1)
            assert byte, "the browser has ended"
            data += byte
        answer: dict[str, Any] = json.loads(bytes(data[:-1]))
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.requests.append(parameters["request"]["url"])
        if method in _SPEAKS:
            self.complaints.append(json.dumps(parameters))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Run Chromium with an empty profile."""
    assert CHROMIUM is not None
    there, write_end = os.pipe()
    read_end, back = os.pipe()
    # The browser reads from 3 and writes to 4, whatever these are numbered here.
    reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (there, back))
    command = [
        sys.executable, "-c", _PLUG, str(reads), str(writes),
        CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        pass_fds=(reads, writes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    for end in (there, back, reads, writes):
        os.close(end)
    try:
        with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
            page = Page(reader, writer)
            yield page
            page.close()
            process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
