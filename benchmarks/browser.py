"""A headless Chromium, driven over a pipe by its DevTools protocol: no driver program and no package in between."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Programs that are looked for, in this order."""

TIMEOUT = 60.0
"""Seconds that one answer, or one condition on a page, may take."""

# The protocol's pipe is file descriptors 3 (commands) and 4 (answers) of the browser.
_START = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--mute-audio", "--disable-dev-shm-usage",
)  # fmt: skip


class BrowserError(Exception):
    """The browser is missing, gave up, or a page did not do what was waited for."""


def find_browser() -> str:
    """The path of an installed Chromium.

    Raises:
        BrowserError: there is none.
    """
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise BrowserError(f"needs a Chromium: install one of {', '.join(NAMES)} (Debian: apt-get install chromium)")
    return found


class Page:
    """One tab. `requests` are the addresses that it asked for, `complaints` its console errors and exceptions."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._browser, self._session = browser, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        return self._browser.call(method, arguments, self._session)

    def open(self, path: Path, *, query: str = "") -> float:
        """Open a file; return the seconds until its load event."""
        self.requests.clear()
        self.complaints.clear()
        begun = time.perf_counter()
        self.call("Page.navigate", url=path.resolve().as_uri() + query)
        self.wait("document.readyState === 'complete'")
        return time.perf_counter() - begun

    def run(self, script: str) -> Any:
        """The value of an expression on the page; promises are waited for.

        Raises:
            BrowserError: it threw.
        """
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{script[:80]}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = TIMEOUT) -> None:
        """Wait until an expression is true.

        Raises:
            BrowserError: it was not, for so long.
        """
        end = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > end:
                raise BrowserError(f"waited {seconds:g} s in vain for: {condition}")
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """A press of the mouse in the middle of an element, scrolled into view."""
        found = f"const it = document.querySelector({json.dumps(selector)}); it.scrollIntoView({{block: 'center'}});"
        middle = "const box = it.getClientRects()[0]; return [box.left + box.width / 2, box.top + box.height / 2];"
        x, y = self.run(f"(() => {{ {found} {middle} }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key of the keyboard: one character, or a name such as Tab or ArrowLeft."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels; below 600 it is a telephone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, scheme: str, media: str = "screen") -> None:
        """Light or dark, on the screen or on paper."""
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def print_to(self, path: Path) -> None:
        """The page as PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))

    def note(self, method: str, event: dict[str, Any]) -> None:
        """Keep what an event of the protocol says of this page."""
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(f"{event['entry']['text']} {event['entry'].get('url', '')}".strip())
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert", "warning"):
            words = (str(one.get("value", one.get("description"))) for one in event["args"])
            self.complaints.append(f"console.{event['type']}: {' '.join(words)}")


class Browser:
    """A running Chromium. Made by `browser`."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._unread = b""
        self._last = 0
        self._pages: dict[str, Page] = {}

    def page(self) -> Page:
        """A new tab."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._pages[session] = Page(self, session)
        return self._pages[session]

    def call(self, method: str, arguments: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One command and its answer; events that come in between go to their pages.

        Raises:
            BrowserError: the browser refused it, gave up or did not answer in time.
        """
        self._last += 1
        command = {"id": self._last, "method": method, "params": arguments}
        if session is not None:
            command["sessionId"] = session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._last:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            page = self._pages.get(message.get("sessionId", ""))
            if page is not None and "method" in message:
                page.note(message["method"], message["params"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._answers], [], [], TIMEOUT)[0]:
                raise BrowserError(f"the browser said nothing for {TIMEOUT:g} s")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise BrowserError("the browser closed its pipe")
            self._unread += data
        message, self._unread = self._unread.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium with a profile of its own, which ends with the block."""
    program = find_browser()
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    # Chromium refuses its sandbox to root, which is who one is in most containers.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = (program, *_OPTIONS, *sandbox, f"--user-data-dir={profile}", "about:blank")
        process = subprocess.Popen(
            (sys.executable, "-c", _START, str(theirs_in), str(theirs_out), *arguments),
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        running = Browser(commands, answers)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(TIMEOUT)
            os.close(commands)
            os.close(answers)
