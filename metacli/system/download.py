"""A file from the network, whole or refused: the only network code.

Only http and https are spoken, redirects included. What is slow, endless or broken off has an end, and nothing is kept
that has not the checksum that it should have.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from tqdm import tqdm

from metacli.errors import MetacliError
from metacli.system import terminal
from metacli.version import __version__

SILENCE = 30.0  # seconds without an answer, or without a byte of it
WINDOW, SLOWEST = 60.0, 60_000  # seconds in each of which so many bytes must come
REDIRECTS = 5  # that are followed
TIMES = 4  # that a download which breaks off is taken up again where it brought anything
PAUSE = 1.0  # seconds before the first of them; doubled each time
PIECE = 1 << 16  # bytes


class _BrokenOff(Exception):
    """The connection ended before the file did; what came so far can be gone on from."""


def fetch(url: str, md5: str, most: int, hint: str) -> bytes:
    """The file at `url`. A download that breaks off is gone on with where the server can, else begun again.

    Args:
        url: http or https.
        md5: of the file, hexadecimal.
        most: bytes that it may have.
        hint: what an error advises.

    Raises:
        MetacliError: there is no network or no such file, it breaks off too often, is too slow or too large, or is not
            the file that it should be. Says how much came.
    """
    data, pause = bytearray(), PAUSE
    for again in range(TIMES + 1):
        before = len(data)
        try:
            _continue(url, data, most)
            break
        except urllib.error.HTTPError as error:
            raise MetacliError(f"cannot download {url}: HTTP {error.code} {error.reason}", hint) from None
        except (OSError, http.client.HTTPException, _BrokenOff) as error:
            came = f" after {len(data):,} bytes" if data else ""
            if again == TIMES or len(data) <= before:
                message = f"cannot download {url}: {_reason(error)}{came}"
                raise MetacliError(message, f"try again; else {hint}") from None
            terminal.say(f"{_reason(error)}{came}, going on")
            time.sleep(pause)
            pause *= 2
        except ValueError as error:
            raise MetacliError(f"cannot download {url}: {error}", hint) from None
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if digest != md5:
        page = ", a web page (of a proxy, or to sign in?)" if re.match(rb"\s*<(!doctype|html)", data, re.I) else ""
        message = f"{url} gave {len(data):,} bytes with MD5 {digest}{page}, not {md5}"
        raise MetacliError(message, f"try again; else {hint}")
    return bytes(data)


def _continue(url: str, data: bytearray, most: int) -> None:
    """Append to `data`, its beginning, what is still to come; where the server begins anew, so does `data`."""
    asked = urllib.request.Request(url, headers={"User-Agent": f"metacli/{__version__}"})
    if data:
        asked.add_header("Range", f"bytes={len(data)}-")
    with open_url(asked, SILENCE) as answer:
        if answer.status == 206 and not _goes_on(answer, len(data)):
            raise ValueError("it answers with another part than the one asked for")
        if answer.status != 206:
            data.clear()
        length = answer.headers.get("Content-Length")
        total = len(data) + int(length) if length and length.isdecimal() else None
        if max(total or 0, len(data)) > most:
            raise ValueError(f"it would be {total:,} bytes, more than {most:,}")
        name = url.rpartition("/")[2]
        with tqdm(
            total=total, initial=len(data), unit="B", unit_scale=True, desc=name, file=sys.stderr, disable=None
        ) as bar:
            _read(answer, data, most, bar)
    if total is not None and len(data) < total:
        raise _BrokenOff(f"the connection broke off before {total:,} bytes")


def _read(answer: Any, data: bytearray, most: int, bar: Any) -> None:
    began, mark = time.monotonic(), len(data)
    while piece := answer.read1(PIECE):
        data += piece
        bar.update(len(piece))
        if len(data) > most:
            data.clear()
            raise ValueError(f"it is more than {most:,} bytes")
        if time.monotonic() - began > WINDOW:
            if len(data) - mark < SLOWEST:
                raise ValueError(f"slower than {SLOWEST:,} bytes in {WINDOW:.0f} s, after {len(data):,} bytes")
            began, mark = time.monotonic(), len(data)


def _goes_on(answer: Any, at: int) -> bool:
    """Whether a part is the rest from byte `at` on, as asked."""
    said = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    return at > 0 and said is not None and int(said[1]) == at


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return f"no answer for {SILENCE:g} s" if isinstance(reason, TimeoutError) else str(reason) or type(reason).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS
    max_repeats = 2

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = newurl.partition(":")[0].lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise ValueError(f"it is redirected to {newurl[:200]}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(asked: urllib.request.Request, timeout: float) -> Any:
    """Like `urllib.request.urlopen`, for http and https alone."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener.open(asked, timeout=timeout)
