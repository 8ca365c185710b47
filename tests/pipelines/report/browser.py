"""A headless Chromium on its debugging pipe: no ports, no extra packages. Messages are JSON, separated by NUL."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Browser:
    """One page. ``console`` holds errors and warnings, ``requests`` every address the page asked for."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._buffer, self._next, self._session = b"", 0, None
        self.console: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _message(self, timeout: float) -> dict[str, Any] | None:
        end = time.monotonic() + timeout
        while b"\0" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                return None
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("the browser went away")
            self._buffer += data
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, p = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.console.append(str([a.get("value", a.get("description")) for a in p["args"]]))
        elif method == "Runtime.exceptionThrown":
            detail = p["exceptionDetails"]
            self.console.append(str(detail.get("exception", {}).get("description", detail["text"])))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            text = p["entry"]["text"]
            if "GPU stall" not in text:  # software rendering says this when pixels are read back; it is no fault
                self.console.append(f"{text} {p['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message(60.0)
            if answer is None:
                raise TimeoutError(method)
            if answer.get("id") == self._next:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def size(self, width: int, height: int = 900, *, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, path: Path, fragment: str = "") -> None:
        self._load("about:blank")  # a change of the fragment alone would be no load
        self.console.clear()
        self.requests.clear()
        self._load(path.resolve().as_uri() + fragment)

    def _load(self, address: str) -> None:
        self._loaded = False
        self.call("Page.navigate", url=address)
        end = time.monotonic() + 30
        while not self._loaded and time.monotonic() < end:
            self._message(1.0)

    def run(self, code: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, code: str, seconds: float = 30.0) -> Any:
        """Value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(code)
            if value:
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{code} stayed {value!r}; console: {self.console}")

    def picture(self, path: Path, *, full: bool = True, clip: dict[str, float] | None = None) -> bytes:
        extra = {} if clip is None else {"clip": {**clip, "scale": 1}}
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full, **extra)
        body = base64.b64decode(answer["data"])
        path.write_bytes(body)
        return body

    def media(self, name: str) -> None:
        self.call("Emulation.setEmulatedMedia", media=name)

    def script(self, on: bool) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])


@contextmanager
def browse(executable: str, *, extra: tuple[str, ...] = ()) -> Iterator[Browser]:
    """Start a browser with a fresh profile; it is gone when the block ends."""
    to_child, write = os.pipe()
    read, from_child = os.pipe()
    # A helper shell puts the pipe where Chromium looks for it: 3 to read, 4 to write.
    shell = f'exec "$0" "$@" 3<&{to_child} 4>&{from_child}'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, executable, *FLAGS, *extra, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_child, from_child),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        try:
            yield Browser(process, write, read)
        finally:
            os.close(write)
            os.close(read)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
