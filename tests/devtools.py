"""Chromium driven through its DevTools protocol over two pipes: real input events, screenshots, no further package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Browser:
    """One page of a headless Chromium.

    Attributes:
        errors: what its console or its scripts complained of.
        asked: the addresses that the page asked for.
    """

    def __init__(self, to: int, of: int):
        self._to, self._of, self._number, self._rest = to, of, 0, b""
        self._session: str | None = None
        self.errors: list[str] = []
        self.asked: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self._number:
                assert "error" not in reply, (method, reply["error"])
                return reply["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._of, 1 << 16)
            assert more, "Chromium ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        kind, about = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        elif kind == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
        elif kind == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        return message

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        result = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression: str, seconds: float = 10) -> Any:
        """Wait until an expression is true in the page; its value."""
        end = time.monotonic() + seconds
        while not (value := self.js(expression)):
            assert time.monotonic() < end, f"never: {expression}; {self.errors}"
            time.sleep(0.02)
        return value

    def screen(self, width: int, height: int, phone: bool = False, **media: str) -> None:
        """Its size, touch, and media features such as prefers_color_scheme."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=phone)
        self("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Open a page and wait until its scripts have run."""
        self("Page.navigate", url=address)
        self.until(f"location.href == {json.dumps(address)} && document.readyState == 'complete'")

    def shot(self, path: Path, whole: bool = False) -> None:
        """A picture of what is in view, or of the whole page."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width, height of an element, scrolled into view."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{found}.scrollIntoView({{block: 'nearest'}})")
        box = self.js(f"(() => {{const b = {found}.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]}})()")
        return tuple(box)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle."""
        x, y, w, h = self.box(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x + w / 2, y=y + h / 2, button="left", clickCount=1)

    def stroke(self, selector: str, points: list[tuple[float, float]], touch: bool = False) -> None:
        """Draw with the mouse or a finger; points from 0 to 1 within the element."""
        x, y, w, h = self.box(selector)
        places = [{"x": x + u * w, "y": y + v * h} for u, v in points]
        if touch:
            self("Input.dispatchTouchEvent", type="touchStart", touchPoints=places[:1])
            for place in places[1:]:
                self("Input.dispatchTouchEvent", type="touchMove", touchPoints=[place])
            self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self("Input.dispatchMouseEvent", type="mousePressed", **places[0], **held)
        for place in places[1:]:
            self("Input.dispatchMouseEvent", type="mouseMoved", **place, **held)
        self("Input.dispatchMouseEvent", type="mouseReleased", **places[-1], **held)

    def key(self, *names: str, shift: bool = False, control: bool = False) -> None:
        """Press keys one after the other, as KeyboardEvent.key names them."""
        for name in names:
            about: dict[str, Any] = {"key": name, "modifiers": 8 * shift + 2 * control}
            about |= {"windowsVirtualKeyCode": CODES.get(name, ord(name[0].upper()))}
            typed = (
                {"text": "\r" if name == "Enter" else name}
                if (len(name) == 1 and not control) or name == "Enter"
                else {}
            )
            self("Input.dispatchKeyEvent", type="keyDown", **about, **typed)
            self("Input.dispatchKeyEvent", type="keyUp", **about)


CODES = {"Tab": 9, "Enter": 13, "Escape": 27, "Backspace": 8, "Delete": 46, "ArrowLeft": 37, "ArrowUp": 38}
CODES |= {"ArrowRight": 39, "ArrowDown": 40}


@contextlib.contextmanager
def browser(chromium: str, profile: Path) -> Iterator[Browser]:
    """A headless Chromium with a profile of its own."""
    (theirs_in, to), (of, theirs_out) = os.pipe(), os.pipe()
    # the protocol speaks over file descriptors 3 and 4
    script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
    options += [f"--user-data-dir={profile}", "--no-first-run", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", script, chromium, *options], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(to, of)
    finally:
        os.close(to)
        os.close(of)
        process.terminate()
        process.wait(20)
